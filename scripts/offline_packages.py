"""Lets a Python without a network run this checkout: installs wheels that are at hand, and says what is missing.

    python scripts/offline_packages.py SITE WHEELS

What the project needs and this Python lacks is installed from the folder of wheels into the folder SITE, which belongs on
``PYTHONPATH`` behind ``src``; there the project is also known by name and version, as if it were installed.
"""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
EXTRAS = ("image", "hf")
TESTS = ("pytest",)
UNUSED = ("datasets",)
"""Of the extras, what neither tests nor benchmarks of a device read."""


def needed() -> list[str]:
    """Names of the packages that tests and benchmarks of a device need."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in extras[extra]), *TESTS]
    return [name for line in lines if (name := line.split(">")[0].strip()) not in UNUSED]


def missing(names: list[str]) -> list[str]:
    """Those that this Python does not have."""
    found = []
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            found.append(name)
    return found


def main() -> None:
    """Installs what is missing, or says what it is."""
    site, wheels = Path(sys.argv[1]), Path(sys.argv[2])
    about = site / f"gradsift-{PROJECT['version']}.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gradsift\nVersion: {PROJECT['version']}\n")
    sys.path.append(str(site))
    lacking = missing(needed())
    if lacking and wheels.is_dir() and any(wheels.glob("*.whl")):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
        subprocess.run([*pip, "--target", str(site), *map(str, wheels.glob("*.whl"))], check=True)
        lacking = missing(needed())
    if lacking:
        raise SystemExit(
            f"this Python lacks {', '.join(lacking)}: where there is a network, WHEELS='{' '.join(lacking)}' "
            "scripts/device.sh --prepare puts them into device/wheels"
        )


if __name__ == "__main__":
    main()
