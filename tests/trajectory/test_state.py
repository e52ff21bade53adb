"""A training that is resumed from its checkpoint keeps what was recorded before."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import gradsift
from gradsift.errors import DataError, SettingError


def problem(size=60):
    generator = np.random.default_rng(0)
    return generator.normal(size=(size, 2)).astype(np.float32), generator.integers(0, 3, size)


def make(passes, data, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    recorder = gradsift.Recorder(model, data, passes=passes, show_progress=False, **settings)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), recorder


def train(model, optimizer, recorder, data, epochs, stop=None):
    """Trains some epochs; ``stop`` ends the last one after so many steps, ``-n`` begins the first one n steps late."""
    wrapped = gradsift.indexed(data)
    for epoch in epochs:
        order = torch.Generator().manual_seed(epoch)
        loader = DataLoader(wrapped, batch_size=8, shuffle=True, generator=order, collate_fn=wrapped.collate)
        for number, batch in enumerate(loader):
            if stop is not None and stop < 0 and epoch == epochs[0] and number < -stop:
                continue
            inputs, labels = recorder.see(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            recorder.end_step()
            if stop is not None and epoch == epochs[-1] and number + 1 == stop:
                return
        recorder.end_epoch()


def stored(*parts):
    """As in a checkpoint's file, which is read without running code."""
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def restored(states, parts):
    for state, part in zip(states, parts, strict=True):
        part.load_state_dict(state)


def assert_same(one, other, modes):
    for mode in modes:
        own, expected = one.of_mode(mode), other.of_mode(mode)
        assert own.fingerprint() == expected.fingerprint()
        assert list(own.steps) == list(expected.steps)
        assert own.data == expected.data
        if mode == "train":
            np.testing.assert_array_equal(own.recorded_at, expected.recorded_at)


@pytest.mark.parametrize("passes", ["eval", "train", "both"])
@pytest.mark.parametrize("stop", [None, 3])
def test_a_resumed_training_records_what_an_uninterrupted_one_does(passes, stop):
    data = problem()
    whole = make(passes, data)
    train(*whole, data, range(4))
    first = make(passes, data)
    train(*first, data, range(3 if stop else 2), stop)
    states = stored(*first)
    second = make(passes, data)  # as in a new process
    restored(states, second)
    train(*second, data, range(2, 4), -stop if stop else None)
    modes = ["train", "eval"] if passes == "both" else [passes]
    assert_same(second[2], whole[2], modes)


def test_a_resume_drops_what_came_after_the_checkpoint():
    data = problem()
    parts = make("both", data)
    train(*parts, data, range(2))
    states = stored(*parts)
    train(*parts, data, range(2, 3))
    parts[2].finish()
    restored(states, parts)
    assert list(parts[2].of_mode("eval").steps) == [8, 16]
    train(*parts, data, range(2, 4))
    whole = make("both", data)
    train(*whole, data, range(4))
    assert_same(parts[2], whole[2], ["train", "eval"])
    assert len(parts[0]._forward_pre_hooks) == 1


def test_a_state_is_taken_without_an_effect_on_the_training():
    data = problem()
    parts = make("both", data)
    train(*parts, data, range(1))
    before = torch.get_rng_state()
    parts[2].state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    train(*parts, data, range(1, 2))
    whole = make("both", data)
    train(*whole, data, range(2))
    assert_same(parts[2], whole[2], ["train", "eval"])


def test_states_that_do_not_fit_are_refused():
    data = problem()
    parts = make("both", data)
    train(*parts, data, range(1))
    state = parts[2].state_dict()
    order = np.arange(60)[::-1]
    for other, words in (
        ((data[0][order], data[1][order]), "another data set, or of the same one in another order"),
        ((data[0][:50], data[1][:50]), "holds 60 samples, the data set 50"),
    ):
        with pytest.raises(DataError, match=words):
            make("both", other)[2].load_state_dict(state)
    for settings in ({"passes": "eval"}, {"passes": "both", "layers": "all"}):
        with pytest.raises(SettingError, match="was recorded with"):
            make(data=data, **settings)[2].load_state_dict(state)
    fresh = make("both", data)[2]
    for broken, words in (
        ({}, "no state of a Recorder"),
        (state | {"version": 9}, "has the form 9"),
        (state | {"recording": {}}, "damaged"),
    ):
        with pytest.raises(SettingError, match=words):
            fresh.load_state_dict(broken)
    with pytest.raises(DataError, match="no eval pass"):
        _ = fresh.trajectory


def test_a_recorder_that_had_failed_stays_so():
    data = problem()
    recorder = make("both", data)[2]
    recorder.fail("something broke")
    other = make("both", data)[2]
    other.load_state_dict(recorder.state_dict())
    assert other.failure == "something broke"
