"""What a batch frees is there for the next one."""

import platform

import pytest
import torch

from gradsift.gradients.heap import MOST_KEPT, keep_freed_memory


def faults_of_batches(batches=6, blocks=12):
    """Pages that the system hands out while batches of 36 MiB come and go."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(batches):
        held = [torch.empty(3 * 2**18).fill_(1.0) for _ in range(blocks)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_pages_are_fetched_once_and_not_for_every_batch():
    keep_freed_memory(2**20)
    given_back = faults_of_batches()
    keep_freed_memory()
    faults_of_batches()
    kept = faults_of_batches()
    assert kept * 10 < given_back
    assert MOST_KEPT >= 12 * 3 * 2**20


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("gradsift.gradients.heap.ctypes.CDLL", lambda _name: object())
    keep_freed_memory()
