"""What is promised to callers stays: `python scripts/public_api.py --write` renews the list with a release."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("public_api", ROOT / "scripts/public_api.py")
public_api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(public_api)


def test_no_promised_name_or_parameter_is_broken():
    promised = json.loads(public_api.FILE.read_text())
    assert len(promised) > 300
    assert public_api.broken(promised, public_api.public_api()) == []


@pytest.mark.parametrize(
    ("now", "works"),
    [
        (["x", "*", "k=1"], True),
        (["x", "*", "new=2", "k=1"], True),
        (["x", "y=0", "*", "k=1"], True),
        (["x", "*", "k=2"], False),
        (["x", "*", "k"], False),
        (["x", "*", "k=1", "new"], False),
        (["x", "y", "*", "k=1"], False),
        (["y", "*", "k=1"], False),
        ([], False),
        (None, False),
    ],
)
def test_what_a_caller_notices(now, works):
    assert (public_api.broken({"f": ["x", "*", "k=1"]}, {"f": now}) == []) is works


def test_a_name_that_is_gone_is_noticed():
    assert public_api.broken({"f": []}, {"g": []}) == ["f is gone"]
