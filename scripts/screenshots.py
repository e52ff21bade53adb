"""Takes the pictures of the pages from real output: the audit of the demo's digits, in Debian's Chromium.

    python scripts/screenshots.py

Writes ``docs/audit-page.png``, the beginning of the page that ``audit.report`` writes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from readme_figures import ROOT, audit_of_digits

CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1000, "height": 1180}
"""Pixels of the window."""


def main() -> None:
    """Audits, opens the page and takes its picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        page = Path(folder) / "report.html"
        audit_of_digits().report(page)
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport=SIZE)
        tab.goto(page.as_uri(), timeout=120_000)
        tab.screenshot(path=ROOT / "docs" / "audit-page.png")
        browser.close()


if __name__ == "__main__":
    main()
