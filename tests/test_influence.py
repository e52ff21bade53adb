"""Influence from gradients, against dense formulas."""

import numpy as np
import pytest

from gradsift.errors import DataError, SettingError
from gradsift.influence import datainf, inner_products


def gradients(sizes=(7, 3), layers=(5, 4), seed=0):
    generator = np.random.default_rng(seed)
    return [{f"layer{place}": generator.normal(size=(n, p)) for place, p in enumerate(layers)} for n in sizes]


def whole(rows):
    return np.concatenate(list(rows.values()), axis=1)


def test_inner_products_are_those_of_whole_gradients():
    train, target = gradients()
    expected = whole(train) @ whole(target).T
    np.testing.assert_allclose(inner_products(train, target), expected)
    lengths = np.outer(np.linalg.norm(whole(train), axis=1), np.linalg.norm(whole(target), axis=1))
    np.testing.assert_allclose(inner_products(train, target, cosine=True), expected / lengths)
    train["layer0"][2] = train["layer1"][2] = 0
    assert (inner_products(train, target, cosine=True)[2] == 0).all()


@pytest.mark.parametrize("damping", [0.1, 2.0])
def test_datainf_equals_its_dense_formula(damping):
    train, target = gradients()
    expected = 0
    for name, rows in train.items():
        n, p = rows.shape
        regulariser = damping * (rows**2).mean()
        inverse = sum(np.linalg.inv(np.outer(g, g) + regulariser * np.eye(p)) for g in rows) / n
        expected = expected + rows @ inverse @ target[name].T
    np.testing.assert_allclose(datainf(train, target, damping=damping), expected, rtol=1e-9)


def test_a_target_equal_to_a_training_sample_is_helped_by_it():
    train, _ = gradients((20, 1), (60, 40))
    for method in (inner_products, datainf):
        own = np.diag(method(train, train))
        assert (own > 0).all()
        assert (own > method(train, train).mean(axis=1)).all()
    np.testing.assert_allclose(np.diag(inner_products(train, train)), (whole(train) ** 2).sum(axis=1))


@pytest.mark.parametrize("method", [inner_products, datainf])
def test_order_dtype_and_layers_without_gradient_change_nothing(method):
    train, target = gradients()
    expected = method(train, target)
    order = np.random.default_rng(1).permutation(7)
    np.testing.assert_allclose(method({n: r[order] for n, r in train.items()}, target), expected[order])
    single = [{n: r.astype(np.float32) for n, r in side.items()} for side in (train, target)]
    np.testing.assert_allclose(method(*single), expected, rtol=1e-4, atol=1e-4)
    silent = [side | {"silent": np.zeros((len(side["layer0"]), 2))} for side in (train, target)]
    np.testing.assert_allclose(method(*silent), expected)
    alone = {n: r[:1] for n, r in train.items()}
    assert np.isfinite(method(alone, target)).all()


@pytest.mark.parametrize("method", [inner_products, datainf])
def test_gradients_that_do_not_belong_together_are_refused(method):
    train, target = gradients()
    with pytest.raises(DataError, match="other layers"):
        method(train, {"layer0": target["layer0"]})
    with pytest.raises(DataError, match="one row a sample"):
        method(train | {"layer1": train["layer1"][:2]}, target)
    with pytest.raises(DataError, match="layer1: "):
        method(train, target | {"layer1": target["layer1"][:, :2]})
    with pytest.raises(DataError, match="one row a sample"):
        method(train, {n: r[:0] for n, r in target.items()})


def test_damping_must_be_positive():
    with pytest.raises(SettingError, match="above 0"):
        datainf(*gradients(), damping=0.0)
