import gc
import os

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # before what reads it is imported

from gradsift.demo import blobs as three_blobs
from tests.support.browser import CHROMIUM

torch.set_num_threads(1)


def pytest_addoption(parser):
    """``--device cuda`` runs the tests of devices on a GPU; see ``scripts/device.sh``."""
    parser.addoption("--device", default="cpu", help="where tests/gradients/test_device.py runs, such as cuda")


def pytest_collection_finish():
    """What is imported stays, so no later collection of garbage looks through it; Trainers ask for many."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def device(request):
    """Where tests of devices run."""
    return request.config.getoption("--device")


@pytest.fixture
def blobs():
    """Three classes in the plane, 10 % of the labels flipped: inputs, given labels, which are wrong."""
    return three_blobs.load()


@pytest.fixture
def trained(blobs):
    """A small network trained on the blobs, in eval mode."""
    inputs, given, _ = blobs
    return three_blobs.train(inputs, given)


@pytest.fixture
def few_rounds(monkeypatch):
    """Heads on features are trained for three rounds at most: for tests that do not ask how good they are."""
    monkeypatch.setattr("gradsift.evidence.heads.ROUNDS", 3)


@pytest.fixture(scope="module")
def browser():
    """Chromium, started once for the tests of a file; each opens a context of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
