"""The same statistics along training: recorded from training's own passes, or by eval passes in between."""

from gradsift.trajectory.indexed import IndexedSet, indexed
from gradsift.trajectory.read import read_trajectory
from gradsift.trajectory.recorder import Recorder
from gradsift.trajectory.trajectory import Trajectory

__all__ = ["IndexedSet", "Recorder", "Trajectory", "indexed", "read_trajectory"]
