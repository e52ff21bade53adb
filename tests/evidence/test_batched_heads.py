import numpy as np
import pytest
import torch

from gradsift.evidence.batched_heads import BatchedHeads, inputs_at


@pytest.mark.parametrize("alike", [True, False])
def test_heads_are_layers_side_by_side(alike):
    heads = BatchedHeads([5, 7, 3], 2, torch.Generator().manual_seed(0), alike=alike)
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    for head in range(2):
        first, first_bias, last, last_bias = (part[head].detach() for part in heads.weights)
        hidden = torch.nn.functional.linear(inputs, first, first_bias[:, 0]).relu()
        expected = torch.nn.functional.linear(hidden, last, last_bias[:, 0])
        torch.testing.assert_close(heads.predict(head, inputs), expected)
    assert torch.equal(heads.weights[0][0], heads.weights[0][1]) is alike


def test_a_step_learns_with_one_seed_the_same():
    def trained():
        heads = BatchedHeads([5, 3], 2, torch.Generator().manual_seed(0), alike=False)
        inputs = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
        labels = torch.arange(12) % 3
        losses = []
        for _ in range(20):
            loss = torch.nn.functional.cross_entropy(heads.logits(inputs).flatten(0, 1), labels)
            heads.optimizer.zero_grad()
            loss.backward()
            heads.optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    losses = trained()
    assert losses == trained()
    assert losses[-1] < losses[0]


def test_each_head_sees_its_own_rows():
    inputs, places = torch.arange(12.0).view(4, 3), torch.tensor([[3, 0], [1, 1], [2, 3]])
    np.testing.assert_array_equal(inputs_at(inputs, places), inputs[places])
