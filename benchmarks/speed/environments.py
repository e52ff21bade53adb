"""Where each peer's package lives: a virtual environment of its own beside the repository's, made by ``--prepare``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.0"
PEERS = {"peers": ("opacus", "BackPACK", "captum", "TRAK", "dattri", "dattri-llm", "kronfluence", "bergson")}
"""Environment to the peers in it. A peer that needs other pins gets a line of its own."""
REQUIREMENTS = {
    "peers": [
        "opacus==1.6.0", "backpack-for-pytorch==1.7.1", "captum==0.9.0", "traker==0.3.2", "dattri==0.3.0",
        "dattri-llm==0.1.0", "kronfluence==1.0.1", "bergson==2.5.1", "transformers==5.24.0", "peft==0.21.2",
    ],
}  # fmt: skip
UNUSED = ["torchvision", "torchaudio"]
"""They come with peers for their examples, have no build for every torch, and without one break transformers."""


def python_of(peer: str) -> Path | None:
    """The interpreter that has a peer's package, or none before ``--prepare``; gradsift and plain torch run in ours."""
    for name, peers in PEERS.items():
        if peer in peers:
            python = folder(name) / "bin" / "python"
            return python if (folder(name) / "done").exists() else None
    return Path(sys.executable)


def folder(name: str) -> Path:
    return ROOT / f".venv-speed-{name}"


def prepare() -> None:
    """Makes every environment that is not there: torch first, then the peers, then gradsift from this checkout."""
    for name, requirements in REQUIREMENTS.items():
        place, done = folder(name), folder(name) / "done"
        stamp = "\n".join([TORCH, *requirements]) + "\n"
        if done.exists() and done.read_text() == stamp:
            print(f"{place.name} is ready")
            continue
        print(f"making {place.name}: {', '.join(requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        (place / ".gitignore").write_text("*\n")
        pip = [str(place / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        pinned = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, "install", "--upgrade", "pip>=25.1"], check=True)
        subprocess.run([*pip, "install", TORCH], check=True)
        subprocess.run([*pip, "install", *pinned, *requirements], check=True)
        subprocess.run([*pip, "install", *pinned, "-e", str(ROOT)], check=True)
        subprocess.run([*pip, "uninstall", "--yes", *UNUSED], check=True)
        done.write_text(stamp)
