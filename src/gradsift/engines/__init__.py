"""What runs the stages that are maps over shards: this process, several, parts of array jobs, Ray."""

from gradsift.engines.base import Engine, Share, Stage
from gradsift.engines.choose import EngineSettings, get_engine
from gradsift.engines.collect import CollectShards, Preparing, Sent
from gradsift.engines.local import Local
from gradsift.engines.on_ray import Ray
from gradsift.engines.parts import Part

__all__ = [
    "CollectShards",
    "Engine",
    "EngineSettings",
    "Local",
    "Part",
    "Preparing",
    "Ray",
    "Sent",
    "Share",
    "Stage",
    "get_engine",
]
