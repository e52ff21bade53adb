"""Engines by name, and the settings that choose one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gradsift.engines.base import Engine, Load
from gradsift.engines.local import Local
from gradsift.engines.on_ray import Ray
from gradsift.engines.parts import Part
from gradsift.errors import SettingError
from gradsift.fields import check_settings, setting
from gradsift.ranges import Range, share, whole

ENGINES: dict[str, Callable[[], Engine]] = {"local": Local, "ray": Ray}
PANEL = "More machines than one"
"""Theme of the settings."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Where gradients are computed; nothing of it changes what is computed, so it stands in no ``config.yaml``."""

    engine: Literal["local", "ray"] = setting(
        "What computes the gradients; see the page on scale.", "local", panel=PANEL
    )
    part: str | None = setting(
        "Compute this part alone, such as 17/256, in an array of jobs; gradsift merge follows.", None, panel=PANEL
    )
    address: str | None = setting(
        "Of a Ray cluster: host:6379, ray://host:10001 or auto; this machine where left out.", None, panel=PANEL
    )
    workers: int | None = setting("Ray actors; as many as fit where left out.", None, panel=PANEL, number=whole(1))
    cpus_per_worker: float = setting(
        "CPUs that a Ray actor holds.", 1, panel=PANEL, number=share(4096, "a number of CPUs above 0")
    )
    gpus_per_worker: float | None = setting(
        "GPUs that a Ray actor holds, 0.5 for two actors on one; one where --device is a GPU.",
        None,
        panel=PANEL,
        number=share(64, "a number of GPUs above 0") | Range("0", lambda value: value == 0),
    )

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: A setting is outside its range, or does not go with the engine.
        """
        check_settings(self)
        of_ray = {"address": None, "workers": None, "cpus_per_worker": 1, "gpus_per_worker": None}
        strange = [name for name, default in of_ray.items() if getattr(self, name) != default]
        if self.engine != "ray" and strange:
            flags = " and ".join("--" + name.replace("_", "-") for name in strange)
            raise SettingError(f"{flags} belong to --engine ray: give that, or leave them out")
        if self.part is not None:
            Part.read(self.part)
            if self.engine != "local":
                raise SettingError("--part is computed by this process alone: leave --engine out")

    def make(self, load: Load) -> Engine:
        """The engine.

        Args:
            load: How a worker elsewhere gets model, data set and task.

        Returns:
            The engine; a part is none of its own here.

        Raises:
            SettingError: Nobody answers at the address.
        """
        if self.engine == "local":
            return Local()
        engine = Ray(
            address=self.address,
            workers=self.workers,
            cpus_per_worker=self.cpus_per_worker,
            gpus_per_worker=self.gpus_per_worker,
            load=load,
        )
        engine.refuse_unreachable()
        return engine


def get_engine(engine: str | Engine) -> Engine:
    """An engine.

    Args:
        engine: Its name, or the engine itself.

    Returns:
        The engine.

    Raises:
        SettingError: There is none of this name.
    """
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise SettingError(f"unknown engine {engine!r}: the known ones are {', '.join(ENGINES)}")
    return ENGINES[engine]()
