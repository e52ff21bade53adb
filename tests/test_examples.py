"""The recipes on real data run as their first lines say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = Path(os.environ.get("GRADSIFT_DATA", "does-not-exist"))
FASHION = Path("/usr/share/datasets/fashion-mnist")


def average_precision(output, detector):
    (line,) = [line for line in output.splitlines() if line.startswith(detector + " ")]
    return float(line.split(" ap ")[1].split()[0])


def run(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
@pytest.mark.parametrize("noise", ["symmetric", "pair"])
def test_fashion_mnist(noise, tmp_path):
    output = run(EXAMPLES / "fashion_mnist.py", "--noise", noise, "-o", tmp_path / "run")
    assert "audited 60,000 samples" in output
    assert average_precision(output, "l2") > 0.75
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="GRADSIFT_DATA holds no cifar10")
@pytest.mark.parametrize(("labels", "chance"), [("aggre", 0.09), ("worst", 0.41)])
def test_cifar10n(labels, chance, tmp_path):
    output = run(EXAMPLES / "cifar10n.py", "--labels", labels, "-o", tmp_path / "run")
    assert "audited 10,000 samples" in output
    assert average_precision(output, "l2") > 1.5 * chance
