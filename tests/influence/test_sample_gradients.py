"""The store of per-sample gradients against the loop: every reading of it, kept or not, stored or fresh, in chunks."""

import numpy as np
import peft
import pytest
import torch
from torch import nn

import gradsift
from gradsift.curvature.vectors import count, flattened, unflattened
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.influence import DataInf, InnerProduct, SampleGradients, sample_gradients
from gradsift.tasks import CausalLM
from tests.support.families import BY_NAME
from tests.support.oracle import flat, oracle

QUIET = {"show_progress": False}


def network(dtype=torch.float64):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)
    )
    return model.to(dtype).eval()


def images(size=11, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 1, 3, 3, generator=generator).to(dtype), torch.randint(3, (size,), generator=generator)


def adapter():
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(BY_NAME["llama_lm"].make(torch.float64), config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


BERT, LLAMA = BY_NAME["bert_sequence"], BY_NAME["llama_lm"]
CASES = {
    "network": (network, images, "classification"),
    "tokens": (lambda: BERT.make(torch.float64), lambda: BERT.batch(9), "classification"),
    "adapter": (adapter, lambda: LLAMA.batch(8), CausalLM()),
}


@pytest.mark.parametrize("keep_bytes", [0, 10**9])
@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("case", CASES)
def test_every_reading_against_the_loop(case, layers, keep_bytes):
    make, data, task = CASES[case]
    if case == "adapter" and layers == "last":
        layers = ["*v_proj*"]
    model, data = make(), data()
    store = SampleGradients(model, data, task=task, layers=layers, batch_size=4, keep_bytes=keep_bytes, **QUIET)
    wanted = oracle(model, task, data, set(store.parameters))
    rows, n = flat(wanted).numpy(), len(store)
    generator = np.random.default_rng(0)
    for _ in range(2):  # the second time from what was kept
        directions = {
            name: torch.from_numpy(generator.normal(size=(3, *p.shape))) for name, p in store.parameters.items()
        }
        assert np.allclose(store.products(directions), rows @ flattened(directions).numpy().T, rtol=1e-6, atol=1e-9)
        assert np.allclose(store.squares(), (rows**2).sum(axis=1), rtol=1e-6)
        weights = generator.normal(size=(n, 2))
        assert np.allclose(flattened(store.sums(weights)).numpy(), weights.T @ rows, rtol=1e-6, atol=1e-9)
        each = {name: generator.normal(size=(n, 2)) for name in store.parameters}
        expected = np.concatenate([each[name].T @ wanted[name].flatten(1).numpy() for name in each], axis=1)
        assert np.allclose(flattened(store.sums(each)).numpy(), expected, rtol=1e-6, atol=1e-9)
        for name, products in store.products_by_parameter(directions).items():
            expected = wanted[name].flatten(1).numpy() @ directions[name].flatten(1).numpy().T
            assert np.allclose(products, expected, rtol=1e-6, atol=1e-9), name
        for name, squares in store.squares_by_parameter().items():
            assert np.allclose(squares, wanted[name].flatten(1).square().sum(dim=1).numpy(), rtol=1e-6), name
    assert np.allclose(
        flattened(store.rows([5, 0, 7, 2, 3, 1])).numpy(), rows[[5, 0, 7, 2, 3, 1]], rtol=1e-6, atol=1e-9
    )
    assert store.size == rows.shape[1]
    assert store.dtype == torch.float64


def test_small_gradients_are_computed_once_and_large_ones_at_each_visit(monkeypatch):
    runs = []
    real = SampleGradients._run

    def counted(self, *arguments):
        runs.append(1)
        return real(self, *arguments)

    monkeypatch.setattr(SampleGradients, "_run", counted)
    for keep_bytes, expected in ((10**9, 3), (0, 9)):
        runs.clear()
        store = SampleGradients(network(), images(), batch_size=4, keep_bytes=keep_bytes, **QUIET)
        for _ in range(3):
            store.squares()
        assert len(runs) == expected


def test_methods_share_a_store():
    model, data, target = network(), images(), images(5, 2)
    store = SampleGradients(model, data, layers="last", **QUIET)
    for make in (InnerProduct, DataInf):
        alone = make(layers="last", **QUIET).fit(model, data).influence(target)
        assert np.allclose(make(**QUIET).fit_gradients(store).influence(target), alone)


def test_any_chunk_of_directions_gives_the_same_numbers(monkeypatch):
    model, data, target = network(), images(), images(5, 2)
    store = SampleGradients(model, data, **QUIET)
    each, own = (
        f(DataInf(**QUIET).fit_gradients(store))
        for f in (lambda m: m.influence(target, each=True), DataInf.self_influence)
    )
    monkeypatch.setattr(sample_gradients, "CHUNK_BYTES", 4 * store.size * 2)
    assert store.chunk == 2
    method = DataInf(**QUIET).fit_gradients(store)
    assert np.allclose(method.influence(target, each=True), each)
    assert np.allclose(method.self_influence(), own)
    monkeypatch.setattr(sample_gradients, "CHUNK_BYTES", 1)
    assert store.chunk == 1
    assert np.allclose(method.influence(target, each=True), each)


def test_the_size_of_a_batch_changes_nothing():
    model, data = network(), images()
    for layers in ("all", "last"):
        found = [
            SampleGradients(model, data, layers=layers, batch_size=size, **QUIET).squares()
            for size in (1, 4, 11, "auto")
        ]
        assert all(np.allclose(one, found[0]) for one in found)


def test_single_precision_is_kept_in_single_and_summed_in_double():
    model, data = network(torch.float32), images(dtype=torch.float32)
    store = SampleGradients(model, data, **QUIET)
    assert store.dtype == torch.float32
    assert store.zeros(2)["0.weight"].shape == (2, 2, 1, 2, 2)
    assert store.squares().dtype == np.float64
    assert np.allclose(store.squares(), SampleGradients(network(), images(), **QUIET).squares(), rtol=1e-4)


@pytest.fixture
def audited(tmp_path):
    model, data = network(torch.float32), images(30, dtype=torch.float32)
    return model, data, gradsift.audit(model, data, layers="last", output=tmp_path / "run", show_progress=False)


def test_a_stored_run_gives_what_fresh_gradients_give(audited, monkeypatch):
    model, data, audit = audited
    fresh = SampleGradients(model, data, layers="last", **QUIET)
    stored = SampleGradients(model, data, layers="last", run=audit.run, **QUIET)
    target = images(5, 2, torch.float32)
    wanted = {make: make(**QUIET).fit_gradients(fresh).influence(target, each=True) for make in (InnerProduct, DataInf)}
    own = InnerProduct(**QUIET).fit_gradients(fresh).self_influence()
    monkeypatch.setattr(SampleGradients, "_run", None)  # no pass over the data
    for make, expected in wanted.items():
        found = make(**QUIET).fit_gradients(stored).influence(target, each=True)
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
    assert np.allclose(InnerProduct(**QUIET).fit_gradients(stored).self_influence(), own, rtol=1e-4)


def test_a_run_of_something_else_is_refused(audited):
    model, data, audit = audited
    with pytest.raises(SettingError, match="use its layers"):
        SampleGradients(model, data, layers="all", run=audit.run, **QUIET)
    fewer = data[0][:20], data[1][:20]
    with pytest.raises(DataError, match="the run is of another data set"):
        SampleGradients(model, fewer, layers="last", run=audit.run, **QUIET)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match=r"the run is of another data set.*in the same form and order"):
        SampleGradients(model, (data[0][order], data[1][order]), layers="last", run=audit.run, **QUIET)
    other = network(torch.float32)
    with torch.no_grad():
        other[-1].bias += 1
    with pytest.raises(DataError, match="the run is of another model"):
        SampleGradients(other, data, layers="last", run=audit.run, **QUIET)


def test_a_run_without_factors_is_refused(tmp_path):
    model, data = network(torch.float32), images(30, dtype=torch.float32)
    audit = gradsift.audit(model, data, layers="all", detectors=["l2"], output=tmp_path / "run", show_progress=False)
    with pytest.raises(SettingError, match="stored no factors of gradients"):
        SampleGradients(model, data, run=audit.run, **QUIET)


def test_samples_that_cannot_be_used_are_named():
    model, (inputs, labels) = network(), images(40)
    broken = inputs.clone()
    broken[33] = torch.nan
    with pytest.raises(DataError, match="33"):
        SampleGradients(model, (broken, labels), batch_size=8, **QUIET).squares()
    outside = labels.clone()
    outside[21] = 9
    with pytest.raises(DataError, match="at positions 21"):
        SampleGradients(model, (inputs, outside), batch_size=8, **QUIET).squares()


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ModelError, match="eval"):
        SampleGradients(network().train(), images(), **QUIET)


def test_a_wrapped_model_has_the_names_that_the_user_knows():
    wrapped = nn.DataParallel(network())
    store = SampleGradients(wrapped, images(), **QUIET)
    assert "0.weight" in store.parameters


def test_vectors_become_a_matrix_and_back():
    store = SampleGradients(network(), images(), **QUIET)
    vectors = store.rows([0, 3])
    back = unflattened(flattened(vectors), store.zeros(1))
    assert list(back) == list(vectors)
    assert all(torch.equal(back[name], vectors[name]) for name in vectors)
    assert count(vectors) == 2
    with pytest.raises(ModelError, match="no parameter is selected"):
        count({})
