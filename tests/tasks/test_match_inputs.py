"""Inputs of matches as vectors: features as they are, tokens by how rare they are, and what is not readable."""

import torch
from torch.nn import functional as F

from gradsift.tasks.match_inputs import BUCKETS, MatchInputs


def test_features_are_taken_as_they_are():
    anchors, matches = torch.randn(5, 3), torch.randn(5, 3)
    inputs = MatchInputs.of(anchors, matches)
    first, second = inputs.vectors(anchors[2:], matches[2:])
    torch.testing.assert_close(first, F.normalize(anchors[2:], dim=1))
    torch.testing.assert_close(second, F.normalize(matches[2:], dim=1))


def test_tokens_count_by_how_rare_they_are_and_padding_does_not():
    tokens = {
        "input_ids": torch.tensor([[7, 7, 1], [7, BUCKETS + 2, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    }
    inputs = MatchInputs.of(tokens, tokens)
    vectors = inputs.vectors(tokens, tokens)[0]
    assert vectors[1, 7] == 0  # a token of all texts
    assert vectors[1, 0] == 0  # padding
    assert vectors[1, 2].item() == 1
    assert inputs.weights[1].item() > inputs.weights[7].item()


def test_other_inputs_and_unlike_widths_are_not_read():
    assert MatchInputs.of(torch.zeros(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)) is None
    assert MatchInputs.of(torch.zeros(4, 3), torch.zeros(4, 2)) is None
    assert MatchInputs.of({"pixel_values": torch.zeros(4, 3)}, {"pixel_values": torch.zeros(4, 3)}) is None
