"""Public names with their parameters, ``tests/public_api.json``: compared with the code, or written with ``--write``."""

import importlib
import inspect
import json
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "tests/public_api.json"
PACKAGES = (
    "gradsift", "gradsift.cleaning", "gradsift.curvature", "gradsift.detectors", "gradsift.evaluation", "gradsift.evidence",
    "gradsift.geometry", "gradsift.gradients", "gradsift.influence", "gradsift.integrations", "gradsift.report",
    "gradsift.store", "gradsift.table", "gradsift.tasks", "gradsift.trajectory",
)  # fmt: skip
ALONE = "*"
"""Stands before the parameters that are given by name alone."""


def public_api() -> dict[str, list[str] | None]:
    """Name to parameters with their defaults; ``None`` for what is not called, such as a property."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in sorted(module.__all__):
            found |= _entries(f"{package}.{name}", getattr(module, name))
    return found


def broken(promised: dict[str, list[str] | None], now: dict[str, list[str] | None]) -> list[str]:
    """What a caller of the promised names would notice: what is gone, moved, or has another default."""
    found = []
    for name, parameters in promised.items():
        if name not in now:
            found.append(f"{name} is gone")
        elif parameters is not None and not _takes(now[name], parameters):
            found.append(f"{name} took ({', '.join(parameters)}), takes ({', '.join(now[name] or ())})")
    return found


def _takes(now: list[str] | None, promised: list[str]) -> bool:
    """Whether every promised call still means the same: added parameters have defaults and stand behind the others."""
    if now is None:
        return False
    (places, names), (old_places, old_names) = _parts(now), _parts(promised)
    added = [one for one in [*places[len(old_places) :], *names] if one not in old_names]
    kept = places[: len(old_places)] == old_places and set(old_names) <= set(names)
    return kept and all("=" in one or one.startswith("*") for one in added)


def _parts(parameters: list[str]) -> tuple[list[str], list[str]]:
    """Parameters by place, and by name alone."""
    end = parameters.index(ALONE) if ALONE in parameters else len(parameters)
    return parameters[:end], parameters[end + 1 :]


def _entries(path: str, value: object) -> dict[str, list[str] | None]:
    if inspect.isclass(value):
        found = {path: _parameters(value)}
        own = [kind for kind in inspect.getmro(value) if kind.__module__.partition(".")[0] == "gradsift"]
        for name in sorted({name for kind in own for name in vars(kind) if not name.startswith("_")}):
            found |= _entries(f"{path}.{name}", inspect.getattr_static(value, name))
        return found
    if isinstance(value, classmethod | staticmethod):
        return {path: _parameters(value.__func__)}
    return {path: _parameters(value) if inspect.isfunction(value) else None}


def _parameters(value: object) -> list[str]:
    """Names with defaults, without annotations; a default that is a function goes by its name."""
    try:
        parameters = list(inspect.signature(value).parameters.values())  # type: ignore[arg-type]  # a class or a function
    except (TypeError, ValueError):
        return []
    found = []
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and ALONE not in found:
            found.append(ALONE)
        default = getattr(one.default, "__name__", repr(one.default))
        plain = str(one.replace(annotation=one.empty, default=one.empty))
        found.append(plain if one.default is one.empty else f"{plain}={default}")
    return found


if __name__ == "__main__":
    if "--write" in sys.argv:
        lines = [f"{json.dumps(name)}: {json.dumps(parameters)}" for name, parameters in public_api().items()]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    else:
        sys.exit("\n".join(broken(json.loads(FILE.read_text()), public_api())) or 0)
