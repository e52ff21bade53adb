"""What was recorded: means, comparison, files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gradsift.detectors import DETECTORS, detrimental_scores, get_detector
from gradsift.errors import DataError, RunDirectoryError
from gradsift.trajectory import Trajectory
from gradsift.trajectory.checkpoints import Checkpoint, trajectory_of
from tests.support.killed import killed_at

ALONG = [name for name in DETECTORS if get_detector(name).reads == ("trajectory",)]


def example(seed=0, checkpoints=4, size=30):
    generator = np.random.default_rng(seed)
    names = ("loss", "l1", "l2", "residual_l1", "residual_l2", "margin")
    arrays = {name: generator.random((checkpoints, size)).astype(np.float32) for name in names}
    steps = generator.integers(0, 9, (checkpoints, size))
    return Trajectory("train", arrays, [10 * (c + 1) for c in range(checkpoints)], steps)


@pytest.mark.parametrize("name", ALONG)
def test_high_scores_are_large_losses_and_small_margins(name):
    trajectory = example()
    statistic = get_detector(name).statistic
    values = trajectory.statistics[statistic].astype(np.float64)
    values[:, 3] = 9 if statistic != "margin" else -9
    worse = Trajectory("eval", {statistic: values}, trajectory.steps)
    scores = detrimental_scores(get_detector(name), worse)
    assert scores.argmax() == 3
    np.testing.assert_allclose(np.abs(scores), np.abs(values.mean(axis=0)))
    np.testing.assert_allclose(scores, detrimental_scores(get_detector(name), values))


def test_samples_seen_at_some_checkpoints_count_by_those():
    values = np.array([[1.0, np.nan], [3.0, 5.0]])
    trajectory = Trajectory("train", {"loss": values}, [1, 2])
    assert trajectory.mean("loss").tolist() == [2.0, 5.0]
    values[:, 1] = np.nan
    with pytest.raises(DataError, match="1 samples were never recorded along training, at positions 1"):
        trajectory.mean("loss")
    with pytest.raises(DataError, match="holds no 'l2', only loss"):
        trajectory.mean("l2")


def test_a_folder_holds_all_of_it(tmp_path):
    trajectory = example()
    path = trajectory.save(tmp_path / "deep" / "trajectory")
    again = Trajectory.open(path)
    assert again.fingerprint() == trajectory.fingerprint()
    assert (again.mode, list(again.steps), again.size, len(again)) == ("train", [10, 20, 30, 40], 30, 4)
    np.testing.assert_array_equal(again.recorded_at, trajectory.recorded_at)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    trajectory.save(path)
    assert before == {file.name: file.read_bytes() for file in path.iterdir()}
    assert example(1).fingerprint() != trajectory.fingerprint()


def test_nobody_s_folder_is_replaced_and_broken_ones_are_told(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunDirectoryError, match="holds no trajectory"):
        example().save(tmp_path / "mine")
    path = example().save(tmp_path / "trajectory")
    next(path.glob("loss-*.npy")).write_bytes(b"broken")
    with pytest.raises(RunDirectoryError, match="no trajectory that"):
        Trajectory.open(path)
    with pytest.raises(RunDirectoryError, match="no trajectory that"):
        Trajectory.open(tmp_path / "nothing")


def test_every_flipped_bit_of_a_save_is_told(tmp_path):
    path = example().save(tmp_path / "trajectory")
    for file in path.iterdir():
        content = file.read_bytes()
        for place in {0, 7, len(content) // 2, len(content) - 1}:
            file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(RunDirectoryError, match="no trajectory that"):
                Trajectory.open(path)
        file.write_bytes(content)
    Trajectory.open(path)


def test_whenever_a_save_is_killed_one_of_the_two_is_whole_and_the_next_one_cleans_up(tmp_path):
    path, other, saved = tmp_path / "trajectory", example(1, checkpoints=2), []
    for operation in range(200):
        example().save(path)
        ended = killed_at(operation, lambda: other.save(path))
        saved.append(len(Trajectory.open(path)))
        if ended:
            break
    assert ended
    assert set(saved) == {4, 2}
    assert len(saved) > 20
    example().save(path)
    assert len(list(path.iterdir())) == len(example().statistics) + 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_of_the_first_format_is_replaced(tmp_path):
    path = Path(shutil.copytree(Path(__file__).parents[1] / "formats/v1/trajectory", tmp_path / "trajectory"))
    (path / "notes.txt").write_text("mine")
    example().save(path)
    assert Trajectory.open(path).fingerprint() == example().fingerprint()
    assert len(list(path.iterdir())) == len(example().statistics) + 3
    assert (path / "notes.txt").exists()


def test_padding_and_other_processes_leave_each_sample_its_earliest_number():
    values = torch.arange(4.0)
    one, two = Checkpoint(5, 8), Checkpoint(5, 8)
    one.add(np.array([0, 1, 0]), {"loss": values[:3]}, step=2)
    one.add(np.array([1, 2]), {"loss": values[:2] + 10}, step=3)
    two.add(np.array([3, 2]), {"loss": values[:2] + 20}, step=2)
    one.merge(two)
    found = trajectory_of("train", [one])
    assert found.statistics["loss"][0, :4].tolist() == [0.0, 1.0, 21.0, 20.0]
    assert np.isnan(found.statistics["loss"][0, 4])
    assert found.recorded_at.tolist() == [[2, 2, 2, 2, -1]]


def test_comparison_pairs_checkpoints_of_the_same_step():
    trajectory = example()
    reference = Trajectory("eval", {"loss": 2 * trajectory.statistics["loss"][[3, 1]]}, [40, 20])
    found = trajectory.compared(reference)["loss"]
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert found["median_relative_difference"] == pytest.approx(0.5)
