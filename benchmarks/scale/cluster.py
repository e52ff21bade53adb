"""A cluster of Ray on this machine, of a head and several machines of one CPU each, in a process of its own."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

STORE = 80 * 2**20
"""Bytes of the object store of a machine: only the stage travels through it."""

HEAD = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}


class LocalCluster:
    """The cluster; its machines can be killed and replaced.

    Args:
        machines: How many, beside the head, which has no CPU.

    Attributes:
        address: Of the head.
        process: Number of the process below which all of Ray runs.
    """

    def __init__(self, machines: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_serve, args=(theirs, machines))
        self._process.start()
        theirs.close()  # so that nobody waits for a cluster that did not start
        self.address: str = self._pipe.recv()
        self.process = int(self._process.pid or 0)

    def raylets(self) -> list[int]:
        """Numbers of the processes that stand for the machines."""
        return self._asked("raylets")

    def mend(self) -> None:
        """Puts a new machine in the place of each that was killed."""
        self._asked("mend")

    def close(self) -> None:
        """Ends the cluster."""
        self._asked("close")
        self._process.join()

    def _asked(self, what: str) -> Any:
        self._pipe.send(what)
        return self._pipe.recv()


def _serve(pipe: Connection, machines: int) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(machines)]
    pipe.send(cluster.address)
    while (asked := pipe.recv()) != "close":
        if asked == "mend":
            for place, node in enumerate(nodes):
                if _raylet(node).poll() is not None:
                    cluster.remove_node(node, allow_graceful=False)
                    nodes[place] = cluster.add_node(num_cpus=1, object_store_memory=STORE)
        pipe.send([_raylet(node).pid for node in nodes])
    cluster.shutdown()
    pipe.send(None)


def _raylet(node: Any) -> Any:
    return node.all_processes["raylet"][0].process
