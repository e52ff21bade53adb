"""Real trainings on soft targets and weights: PyTorch, the Trainer, Lightning, scikit-learn."""

import datasets
import lightning
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import transformers
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader

import gradsift
from gradsift.cleaning import cure as cures
from gradsift.cleaning.corrected import apply
from gradsift.errors import DataError, SettingError
from gradsift.integrations import TargetSet, corrected_loss, weighted_rows
from tests.support.families import BY_NAME
from tests.support.pretrained import image_processor, tokenizer

N, K = 24, 3
RNG = np.random.default_rng(0)
GIVEN = np.arange(N) % K
POSTERIOR = RNG.dirichlet(np.ones(K), N).astype(np.float32)
WEIGHTS = RNG.random(N)
CURES = {"none": cures.none(GIVEN), "soft": cures.soft(POSTERIOR, GIVEN), "weight": cures.weight(1 - WEIGHTS, GIVEN)}
ROWS = [{"text": f"a text of number {i}", "label": int(y), "note": "x"} for i, y in enumerate(GIVEN)]


def expected(logits, how):
    """Mean loss of all samples."""
    losses = -torch.log_softmax(logits, dim=1)
    target = torch.from_numpy(POSTERIOR) if how == "soft" else nn.functional.one_hot(torch.from_numpy(GIVEN), K)
    weight = torch.from_numpy(WEIGHTS).float() if how == "weight" else torch.ones(N)
    return float(((losses * target).sum(dim=1) * weight).mean())


def text_set(how):
    return apply(CURES[how], gradsift.TextSet(datasets.Dataset.from_list(ROWS), tokenizer(special=True), text="text"))


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("how", CURES)
def test_the_trainer_learns_from_every_cure(how, accumulate, tmp_path):
    """The loss of one epoch without steps (learning rate 0) is that of the formula; with steps it falls."""
    better, model = text_set(how), BY_NAME["bert_sequence"].make().eval()
    with torch.no_grad():
        batch = better.collate([better[i] for i in range(N)])
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=1, per_device_train_batch_size=4, learning_rate=0.0, report_to=[],
        gradient_accumulation_steps=accumulate, use_cpu=True, save_strategy="no", logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=TargetSet(better, model.config.num_labels),
        eval_dataset=text_set("none"),
        data_collator=better.collate,
        compute_loss_func=corrected_loss,
    )
    result = trainer.train()
    assert result.training_loss == pytest.approx(expected(logits, how), rel=1e-4)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected(logits, "none"), rel=1e-4)


def test_rows_that_are_tokenised_already_reach_the_trainer(tmp_path):
    encode = tokenizer(special=True)
    plain = datasets.Dataset.from_list(ROWS).map(lambda row: encode(row["text"]))
    model = BY_NAME["bert_sequence"].make()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=30, per_device_train_batch_size=24, learning_rate=0.02, report_to=[],
        use_cpu=True, save_strategy="no", logging_steps=1, disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=TargetSet(apply(CURES["soft"], plain), K),
        data_collator=transformers.DataCollatorWithPadding(encode), compute_loss_func=corrected_loss,
    )  # fmt: skip
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("how", CURES)
def test_a_plain_loop_and_lightning(how):
    X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
    better = apply(CURES[how], [(x, int(y)) for x, y in zip(X, GIVEN, strict=True)])
    torch.manual_seed(0)
    model = nn.Linear(4, K)
    before = expected(model(X).detach(), how)
    inputs, labels, *weights = next(iter(DataLoader(better, batch_size=N)))
    loss = corrected_loss(model(inputs), labels, weights=weights[0] if weights else None).detach()
    assert float(loss) == pytest.approx(before, rel=1e-5)
    if how != "weight":  # the loss of PyTorch takes probabilities
        assert float(loss) == pytest.approx(
            float(nn.functional.cross_entropy(model(inputs).detach(), labels)), rel=1e-5
        )

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = model

        def training_step(self, batch, _index):
            x, y, *w = batch
            return corrected_loss(self.network(x), y, weights=w[0] if w else None)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    lightning.Trainer(
        max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Module(), DataLoader(better, batch_size=8))  # fmt: skip
    assert expected(model(X).detach(), how) < before


def test_images_reach_the_trainer_as_rows_of_targets():
    image_set = gradsift.ImageSet(
        [{"image": np.full((8, 8, 3), i, dtype=np.uint8), "label": int(y)} for i, y in enumerate(GIVEN)],
        image_processor(8),
    )
    batch = next(iter(DataLoader(TargetSet(apply(CURES["soft"], image_set), K), batch_size=5)))
    assert torch.equal(batch["labels"], torch.from_numpy(POSTERIOR[:5]))
    assert set(batch) == {"pixel_values", "labels"}


def test_an_estimator_learns_soft_targets_from_weighted_rows():
    """Its coefficients are those of the model that cross-entropy with soft targets gives."""
    X = RNG.normal(size=(N, 2))
    rows, y, weight = weighted_rows(*apply(CURES["soft"], (X, GIVEN)), least=0.0)
    assert len(rows) == N * K
    fitted = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(rows, y, sample_weight=weight)
    model = nn.Linear(2, K).double()
    inputs, targets = torch.from_numpy(X), torch.from_numpy(POSTERIOR).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = N * corrected_loss(model(inputs), targets) + model.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    predicted = torch.softmax(model(inputs), dim=1).detach().numpy()
    np.testing.assert_allclose(fitted.predict_proba(X), predicted, atol=1e-4)
    better = apply(CURES["weight"], (X, GIVEN))
    assert LogisticRegression().fit(*better[:2], sample_weight=better[2]).predict(X).shape == (N,)


def test_weighted_rows_of_every_kind():
    X = RNG.normal(size=(N, 2))
    for inputs in (X, torch.from_numpy(X), scipy.sparse.csr_matrix(X), pd.DataFrame(X)):
        rows, y, weight = weighted_rows(inputs, POSTERIOR, WEIGHTS, classes=["a", "b", "c"], least=0.2)
        assert type(rows) is type(inputs)
        assert rows.shape[0] == len(y) == len(weight) < N * K
        assert set(y) == {"a", "b", "c"}
        dense = np.asarray(rows.toarray() if scipy.sparse.issparse(rows) else rows)
        sums = [weight[(dense == x).all(axis=1)].sum() for x in X]
        np.testing.assert_allclose(sums, WEIGHTS, rtol=1e-6)
    _, y, weight = weighted_rows(X, pd.DataFrame(np.eye(K)[GIVEN]))
    assert y.tolist() == GIVEN.tolist()
    assert weight.tolist() == [1.0] * N


def test_bad_input_is_refused():
    with pytest.raises(DataError, match=r"targets of shape \(2, 3\) for logits of shape \(2, 2\)"):
        corrected_loss(torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(SettingError, match="num_labels is 5, and targets have 3 classes"):
        TargetSet(text_set("soft"), 5)
    with pytest.raises(DataError, match=r"pairs \(x, target\) go to a loss as they are"):
        TargetSet([(torch.zeros(2), 1)], 2)
    for targets in (POSTERIOR[:3], GIVEN, -POSTERIOR, POSTERIOR * np.nan):
        with pytest.raises(DataError, match=r"probabilities of shape \(n, K\) with n = 24"):
            weighted_rows(np.zeros((N, 2)), targets)
    with pytest.raises(SettingError, match="least is a probability"):
        weighted_rows(np.zeros((N, 2)), POSTERIOR, least=0.5)
    with pytest.raises(SettingError, match="one label for each of 3 columns, given 2"):
        weighted_rows(np.zeros((N, 2)), POSTERIOR, classes=["a", "b"])
