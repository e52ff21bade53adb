"""``gradsift doctor``."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any

import torch
import typer

from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.options import JsonOption
from gradsift.cli.self_test import Check, self_test

BENCHMARKS = ("bench", "peers")
"""Extras that only the project's own benchmarks need."""


def doctor(as_json: JsonOption = False) -> None:
    """Lists versions, devices and extras, and tries the main job, in under a minute.

    Put what it prints into a bug report. It holds no names of files, folders, machines or people.
    """
    packages, extras = _packages(), _extras()
    checks = self_test("cuda" if torch.cuda.is_available() else "cpu")
    failed = [check for check in checks if not check.passed]
    if as_json:
        print_json(
            {"system": _system(), "packages": packages, "devices": _devices(), "extras": extras,
             "checks": [asdict(check) for check in checks], "passed": not failed}
        )  # fmt: skip
    else:
        _tell(packages, extras, checks, failed)
    if failed:
        raise typer.Exit(1)


def _tell(packages: dict[str, str], extras: list[dict[str, Any]], checks: list[Check], failed: list[Check]) -> None:
    say("\n".join(f"{name}: {value}" for name, value in (_system() | {"devices": ", ".join(_devices())}).items()))
    print_table([{"package": name, "version": installed} for name, installed in packages.items()], "Packages")
    rows = [
        {
            "extra": extra["name"],
            "state": "installed" if not extra["missing"] else f"without {', '.join(extra['missing'])}",
            "to install": extra["install"] or "",
        }
        for extra in extras
    ]
    print_table(rows, "Extras")
    told = [
        {"check": check.name, "seconds": f"{check.seconds:.1f}", "result": check.problem or "works"} for check in checks
    ]
    print_table(told, "Self-test")
    if failed:
        say(f"{len(failed)} of {len(checks)} checks fail: put all of this into a bug report.", "bold red")
    else:
        say("All checks pass. Put all of this into a bug report. Next: gradsift demo", "bold")


def _system() -> dict[str, str]:
    return {
        "gradsift": version("gradsift"),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": f"{os.cpu_count()}, torch uses {torch.get_num_threads()} threads",
    }


def _devices() -> list[str]:
    cards = [f"cuda:{place} {torch.cuda.get_device_name(place)}" for place in range(torch.cuda.device_count())]
    return ["cpu", *cards, *(["mps"] if torch.backends.mps.is_available() else [])]


def _required(extra: str | None) -> list[str]:
    """Names of the packages that gradsift needs, by itself or for an extra."""
    names = []
    for line in requires("gradsift") or []:
        belongs = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", line)
        if (belongs.group(1) if belongs else None) == extra:
            names.append(re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0])
    return [name for name in names if name != "gradsift"]


def _packages() -> dict[str, str]:
    """Version of each package that gradsift needs."""
    return {name: _version(name) or "missing" for name in _required(None)}


def _extras() -> list[dict[str, Any]]:
    """Each extra with its packages, and how to install what is missing."""
    extras = []
    for extra in sorted(set(_extra_names()) - set(BENCHMARKS)):
        packages = {name: _version(name) for name in _required(extra)}
        missing = [name for name, here in packages.items() if here is None]
        install = f"pip install '.[{extra}]' in a checkout" if missing else None
        extras.append({"name": extra, "packages": packages, "missing": missing, "install": install})
    return extras


def _extra_names() -> list[str]:
    return metadata("gradsift").get_all("Provides-Extra") or []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
