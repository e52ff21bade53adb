"""What is said of the model that the user's training gives."""

import logging

import pytest
import torch
from torch import nn

from gradsift.errors import SettingError
from gradsift.evidence import UserTraining


def test_a_training_without_a_model_is_refused():
    with pytest.raises(SettingError, match="returned None"):
        UserTraining(lambda dataset, *, seed: None).model("data", "in a test", seed=0)


def test_an_error_of_the_training_says_in_which_step_it_came():
    with pytest.raises(ZeroDivisionError) as raised:
        UserTraining(lambda dataset, *, seed: 1 / 0).model("data", "in the arm 'drop' with seed=3", seed=3)
    assert raised.value.__notes__ == ["raised by train_fn, in the arm 'drop' with seed=3"]


def test_float16_on_the_cpu_is_said_once(caplog):
    training = UserTraining(lambda dataset, *, seed: nn.Linear(4, 1).half())
    for seed in range(2):
        assert training.model("data", "in a test", seed=seed).weight.dtype is torch.float16
    (record,) = caplog.records
    assert "a model in float16 on the CPU" in record.getMessage()
    assert "from_pretrained(...).float()" in record.getMessage()


@pytest.mark.parametrize("model", [nn.Linear(4, 1), nn.Linear(4, 1).bfloat16(), "an estimator"])
def test_nothing_is_said_of_other_models(model, caplog):
    caplog.set_level(logging.WARNING)
    UserTraining(lambda dataset, *, seed: model).model("data", "in a test", seed=0)
    assert not caplog.records
