"""Transcripts: the loss that Wav2Vec2 is trained with, what the model hears, and what is refused."""

from itertools import product

import numpy as np
import pytest
import torch
import transformers as tf
from sklearn.metrics import average_precision_score
from torch import nn

import gradsift
from gradsift.errors import DataError, ModelError, SampleError, SettingError
from gradsift.gradients import PerSampleGradients, Reductions
from gradsift.tasks import CTC
from gradsift.tasks.speech import divergences, heard_in
from gradsift.tasks.structured import Classes
from tests.support.oracle import norms, oracle

LETTERS = ["_", "a", "b", "c", "|"]


@pytest.fixture(scope="module")
def wav2vec2():
    torch.manual_seed(0)
    config = tf.Wav2Vec2Config(
        vocab_size=5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, conv_dim=[8, 8],
        conv_kernel=[8, 4], conv_stride=[4, 2], num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, feat_extract_norm="layer", pad_token_id=0, ctc_loss_reduction="sum",
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0,
    )  # fmt: skip
    return tf.Wav2Vec2ForCTC(config).eval()


def sounds():
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(3, 200, dtype=torch.int64)
    mask[1, 150:] = 0
    labels = torch.tensor([[1, 2, 3, -100], [2, 2, -100, -100], [1, 4, 2, 3]])
    return {"input_values": torch.randn(3, 200, generator=generator) * mask, "attention_mask": mask, "labels": labels}


def test_the_loss_of_a_sample_alone_is_the_models_own(wav2vec2):
    batch = sounds()
    task = CTC(reduction="sum")
    losses = task.losses(task.outputs(wav2vec2, batch), batch)
    for place in range(3):
        one = {name: value[[place]] for name, value in batch.items()}
        torch.testing.assert_close(losses[place], wav2vec2(**one).loss, rtol=1e-4, atol=1e-4)
    means = CTC().losses(CTC().outputs(wav2vec2, batch), batch)
    torch.testing.assert_close(means, losses / torch.tensor([3, 2, 4]))


def test_gradients_equal_those_of_a_sample_alone(wav2vec2):
    batch = sounds()
    per_sample = PerSampleGradients(wav2vec2, CTC(), batch, layers="last", reductions=Reductions(l2=True))
    truth = norms(oracle(wav2vec2, CTC(), batch, set(per_sample.parameters)))[1]
    torch.testing.assert_close(per_sample(batch).statistics["l2"].double(), truth, rtol=1e-3, atol=1e-5)


class Spoken(nn.Module):
    """Hears frames as they are, through one layer."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 5)
        self.head.weight.data, self.head.bias.data = 6 * torch.eye(5), torch.zeros(5)

    def forward(self, x):
        return self.head(x)


@pytest.fixture(scope="module")
def spoken():
    """Frames of letters with blanks between them, transcripts of which the first four are another's."""
    generator = np.random.default_rng(0)
    said = generator.integers(1, 5, (40, 5))
    frames = np.zeros((40, 20, 5), dtype=np.float32)
    frames[:, 0::4, 0] = frames[:, 3::4, 0] = 1
    for place in range(5):
        for frame in (4 * place + 1, 4 * place + 2):
            frames[np.arange(40), frame, said[:, place]] = 1
    frames += 0.3 * generator.normal(size=frames.shape).astype(np.float32)
    given = said.copy()
    given[:4] = said[4:8]
    return Spoken().eval(), torch.from_numpy(frames), torch.from_numpy(given), said


def test_wrong_transcripts_are_found_and_what_was_heard_is_told(spoken, tmp_path):
    model, frames, given, said = spoken
    audit = gradsift.audit(
        model, (frames, given), task="ctc", class_names=LETTERS, show_progress=False, output=tmp_path / "run"
    )
    assert audit.detector == "worst_part"
    assert average_precision_score(np.arange(40) < 4, audit.table["score"].to_numpy()) == 1
    assert set(range(4)) <= set(audit.flagged_positions)
    row = audit.worst(1, previews=False).to_pylist()[0]
    heard = "".join(LETTERS[letter] for letter in said[row["position"]]).replace("|", " ")
    assert row["reason"].endswith(f" a letter: model hears {heard!r}")
    assert len(audit.trim((frames, given))[0]) == 40 - len(audit.flagged_positions)


def test_the_likeliest_letters_are_joined_and_blanks_left_out():
    logits = nn.functional.one_hot(torch.tensor([[0, 1, 1, 0, 1, 2, 2, 0, 3, 3]]), 5).float()
    heard = heard_in({"logits": logits, "lengths": torch.tensor([8]), "blank": torch.tensor(0)})
    assert [one.tolist() for one in heard] == [[1, 1, 2]]
    (part,) = CTC().worst_parts(
        {"logits": 9 * logits, "lengths": torch.tensor([8]), "blank": torch.tensor(0)},
        (logits, torch.tensor([[1, 1, 2, -100]])), Classes(),
    )  # fmt: skip
    assert 0 < part.score < 0.1
    assert part.words == "loss 0.0 a letter: model hears letters 1 1 2"
    assert part.size == 3


def alignments(frames, letters, vocabulary):
    """All paths that are read as some letters, shape (paths, frames)."""
    paths = []
    for path in product(range(vocabulary), repeat=frames):
        joined = [one for place, one in enumerate(path) if place == 0 or one != path[place - 1]]
        if [one for one in joined if one] == letters:
            paths.append(path)
    return np.array(paths)


@pytest.mark.parametrize("letters", [[1, 2], [1, 1], [2]])
def test_divergences_are_those_of_all_alignments_one_by_one(letters):
    frames, vocabulary = 5, 3
    logits = torch.randn(2, frames + 1, vocabulary, generator=torch.Generator().manual_seed(2)).double()
    outputs = {"logits": logits, "lengths": torch.tensor([frames, frames]), "blank": torch.tensor(0)}
    transcripts = [torch.tensor(letters), torch.tensor(letters)]
    with torch.no_grad():
        ours = divergences(outputs, transcripts)
        losses = CTC(reduction="sum").losses(outputs, (logits, torch.stack(transcripts)))
    for row in range(2):
        p = logits[row, :frames].softmax(dim=1).numpy()
        paths = alignments(frames, letters, vocabulary)
        of_paths = p[np.arange(frames), paths].prod(axis=1)
        share = of_paths / of_paths.sum()
        q = np.stack([[share[paths[:, t] == k].sum() for k in range(vocabulary)] for t in range(frames)])
        truth = sum(x * np.log(x / y) for x, y in zip(q.ravel(), p.ravel(), strict=True) if x > 0)
        shared = (share * np.log(share / q[np.arange(frames), paths].prod(axis=1))).sum()  # total correlation
        np.testing.assert_allclose(float(ours[row]), truth, rtol=1e-9)
        np.testing.assert_allclose(float(losses[row]), truth + shared, rtol=1e-9)


def test_a_transcript_that_the_model_is_sure_of_diverges_by_nothing():
    logits = 50 * nn.functional.one_hot(torch.tensor([[0, 1, 0, 2, 0]]), 3).float()
    outputs = {"logits": logits, "lengths": torch.tensor([5]), "blank": torch.tensor(0)}
    assert 0 <= float(divergences(outputs, [torch.tensor([1, 2])])) < 1e-5
    assert float(divergences(outputs, [torch.tensor([1, 1])])) > 10


def test_divergences_of_masked_letters_and_in_inference_mode_are_finite():
    logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(3))
    logits[..., 3] = -torch.inf
    outputs = {"logits": logits, "lengths": torch.tensor([5]), "blank": torch.tensor(0)}
    without = {**outputs, "logits": logits[..., :3]}
    with torch.inference_mode():
        found, expected = (divergences(some, [torch.tensor([1, 2])]) for some in (outputs, without))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.full((3, 4), -100), "an empty transcript"),
        (torch.full((3, 4), 5), r"letters outside 0 \.\.\. 4"),
        (torch.zeros(3, 4).long(), "the blank 0 itself"),
        (torch.ones(3, 40).long(), "longer than its sound has frames"),
    ],
)
def test_bad_transcripts_are_refused(wav2vec2, labels, words):
    batch = sounds() | {"labels": labels}
    with pytest.raises(SampleError, match=words):
        CTC().losses(CTC().outputs(wav2vec2, batch), batch)
    with pytest.raises(DataError, match="give numbers of letters"):
        CTC().losses(CTC().outputs(wav2vec2, batch), batch | {"labels": torch.ones(3).long()})
    with pytest.raises(ModelError, match="frames, letters"):
        CTC().outputs(nn.Flatten(), (torch.ones(2, 3), torch.ones(2, 1)))
    with pytest.raises(SettingError, match="'mean' or 'sum'"):
        CTC(reduction="none")
