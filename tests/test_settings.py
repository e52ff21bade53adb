import dataclasses

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gradsift import AuditSettings
from gradsift.errors import SettingError


@pytest.mark.parametrize("share", ["auto", 0.5, 1e-6, 0.05, np.float64(0.1), np.float32(0.25)])
def test_shares_up_to_a_half_are_taken(share):
    assert AuditSettings(contamination=share).contamination == share


@pytest.mark.parametrize(
    "share", [0, 0.0, 0.6, 0.5000001, 1, 5, -1, -0.1, "half", "0.1", None, float("nan"), float("inf")]
)
def test_shares_outside_are_refused(share):
    with pytest.raises(SettingError, match=r"\(0, 0\.5\], or 'auto'; given .*for 5 % write 0\.05"):
        AuditSettings(contamination=share)


@pytest.mark.parametrize("size", [0, -1, 1.5, "many", None])
@pytest.mark.parametrize("name", ["batch_size", "shard_size"])
def test_sizes_are_whole_numbers_from_one(name, size):
    with pytest.raises(SettingError, match=f"{name} is a whole number from 1"):
        AuditSettings(**{name: size})


@pytest.mark.parametrize("size", [1, 7, np.int64(32)])
def test_sizes_of_every_whole_type_are_taken(size):
    assert AuditSettings(batch_size=size, shard_size=size).batch_size == size


@pytest.mark.parametrize("precision", ["double", "fp16", None, 32])
def test_unknown_precisions_are_refused(precision):
    with pytest.raises(SettingError, match="float32, bfloat16 or float16"):
        AuditSettings(precision=precision)


@given(
    layers=st.one_of(st.sampled_from(["last", "all", "head.*"]), st.lists(st.text(max_size=5), min_size=1).map(tuple)),
    detectors=st.none() | st.lists(st.sampled_from(["l1", "l2", "loss"])).map(tuple),
    contamination=st.just("auto") | st.floats(1e-9, 0.5),
    batch_size=st.just("auto") | st.integers(1, 4096),
    seed=st.integers(0, 2**31),
)
def test_settings_come_back_from_yaml_as_they_went(**values):
    before = AuditSettings(**values)
    plain = before.to_dict()
    assert plain.keys() == {field.name for field in dataclasses.fields(AuditSettings)}
    assert AuditSettings.from_dict(yaml.safe_load(yaml.safe_dump(plain))) == before


def test_numbers_of_numpy_can_be_written_to_yaml():
    settings = AuditSettings(contamination=np.array([True, False, False, False]).mean(), batch_size=8, seed=np.int64(3))
    assert AuditSettings.from_dict(yaml.safe_load(yaml.safe_dump(settings.to_dict()))) == settings


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(
        SettingError, match=r"unknown settings detctor, seeds: the known ones are batch_size, contamination"
    ):
        AuditSettings.from_dict({"detctor": "l1", "seeds": 3, "seed": 1})


def test_some_settings_are_enough_and_the_rest_is_as_usual():
    assert AuditSettings.from_dict({"detector": "l1"}) == AuditSettings(detector="l1")
    assert AuditSettings.from_dict({}) == AuditSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        AuditSettings().seed = 1
