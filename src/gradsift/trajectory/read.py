"""What a user gives as a trajectory."""

from __future__ import annotations

from pathlib import Path

from gradsift.errors import SettingError
from gradsift.locations import Location, RemotePath
from gradsift.trajectory.recorder import Recorder
from gradsift.trajectory.trajectory import Trajectory


def read_trajectory(source: Recorder | Trajectory | str | Location | None) -> Trajectory | None:
    """The trajectory that is meant.

    Args:
        source: A recorder, the folder that it was saved to, or a trajectory.

    Returns:
        The trajectory; ``None`` where none is given.

    Raises:
        SettingError: It is something else.
    """
    if isinstance(source, str | Path | RemotePath):
        return Trajectory.open(source)
    found = source.trajectory if isinstance(source, Recorder) else source
    if found is not None and not isinstance(found, Trajectory):
        raise SettingError(
            f"the trajectory is a {type(found).__name__}: give a Recorder, what it saved, or a Trajectory"
        )
    return found
