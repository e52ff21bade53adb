"""A model that two processes shard between them: refused before work, and the way out that the message names works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gradsift
from tests.support.run_bytes import bytes_of
from tests.support.sharded import DATA, OPTIONS, model

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # one process: tests/gradients/test_wrapped.py
def test_a_model_sharded_over_two_processes_is_refused_and_its_gathered_weights_are_audited(tmp_path):
    command = [sys.executable, "-m", "tests.support.sharded", str(tmp_path)]
    both = [
        subprocess.Popen(
            [*command, str(rank)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    for process in both:
        _, problem = process.communicate(timeout=300)
        assert process.returncode == 0, problem[-3000:]
    numbers = sum(parameter.numel() for parameter in model().parameters())
    for rank in (0, 1):
        said = json.loads((tmp_path / f"said-{rank}.json").read_text())
        assert 0 < said["by_fsdp holds"] < numbers
        assert "sharded by FSDP" in said["by_fsdp"]
        assert "is a DTensor" in said["by_tensor_parallelism"]
        for way in ("by_fsdp", "by_tensor_parallelism"):
            assert "gather the full state dict" in said[way]
            assert "on a base in 4 bits" in said[way]
    assert not list(tmp_path.glob("refused*"))
    gradsift.audit(model(), DATA, output=tmp_path / "whole", **OPTIONS)
    for way in ("by_fsdp", "by_tensor_parallelism"):
        assert bytes_of(tmp_path / way) == bytes_of(tmp_path / "whole")
