"""The main job: from a trained model, an estimator or evidence to a table of detrimental samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gradsift.data import Samples
from gradsift.data.frames import is_frame, split_label
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.engines import Engine, Local, Part, Ray, get_engine
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.evidence import (
    Evidence,
    evidence_of_arrays,
    evidence_of_estimator,
    is_estimator,
)
from gradsift.gradients import Layers, Precision
from gradsift.jobs import PartDone, Request, audit_evidence, audit_model, audit_one_part, merge_parts
from gradsift.jobs.complete import AtHand
from gradsift.locations import Location, as_location
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.store.processes import refuse_unconnected, together
from gradsift.store.unfinished import refuse_before_work
from gradsift.tasks import Task, get_task
from gradsift.trajectory import Recorder, Trajectory, read_trajectory


def audit(
    model: Any = None,
    train_set: Any = None,
    *,
    evidence: Evidence | None = None,
    data: Any = None,
    task: str | Task = "classification",
    layers: Layers = "last",
    detector: str | None = None,
    detectors: str | Sequence[str] | None = None,
    contamination: float | Literal["auto"] = "auto",
    hold_classes: bool = False,
    groups: Any = None,
    cross_fit_heads: Literal["auto", "always", "never"] = "auto",
    findings: bool = True,
    test_set: Any = None,
    projection: int = 512,
    projection_kind: Literal["kronecker", "sparse", "gaussian"] = "kronecker",
    projection_per_layer: bool = False,
    batch_size: int | Literal["auto"] = "auto",
    shard_size: int = 2048,
    precision: Precision = "float32",
    seed: int = 0,
    trajectory: Recorder | Trajectory | str | Location | None = None,
    class_names: Sequence[str] | None = None,
    output: str | Location | None = None,
    overwrite: bool = False,
    engine: str | Engine = "local",
    source: Mapping[str, Any] | None = None,
    show_progress: bool = True,
) -> Audit:
    """Finds the training samples that work against a model.

    Of a torch model, every sample's gradient of its own loss is taken at the trained weights, with the label it was given,
    and reduced; detectors say which samples are outliers or have a wrong label (Chhabra et al., Outlier Gradient Analysis,
    ICML 2025). Nothing is retrained and no validation set is needed. Of an estimator of scikit-learn's kind, predictions
    are cross-validated: it is cloned and fitted five times.

    Several processes (``accelerate launch``, ``torchrun``) share the work shard by shard; each calls this and gets the
    whole table. The output must lie where all of them can write. See docs/scale.md for more machines than one.

    Args:
        model: The trained torch model, in eval mode; or a classifier with ``fit`` and ``predict_proba``. Left out where
            there is evidence already.
        train_set: The data it was trained on: arrays ``(X, y)``, a dict of arrays, a map-style data set, a ``DataLoader``
            that does not shuffle; for models of transformers a :class:`~gradsift.TextSet`, :class:`~gradsift.PromptSet` or
            :class:`~gradsift.ImageSet` of rows. Without random augmentation.
        evidence: What is known of the samples already, such as what :func:`~gradsift.cross_fit` gives; no model is run.
        data: With evidence: the data set that it is of, for trimming and previews.
        task: What a sample's loss is: ``"classification"``, ``"binary"``, ``"multilabel"``, ``"regression"``,
            ``"token-classification"``, ``"segmentation"``, ``"causal-lm"``, ``"seq2seq"``, ``"denoising"``, ``"reward"``,
            ``"dpo"``, or an object with ``outputs(model, batch)`` and ``losses(outputs, batch) -> (n,)``.
        layers: Whose gradients: ``"last"`` (one forward pass), ``"all"``, or glob patterns.
        detector: The detector that ranks and flags. Where left out, for classes and the last layer ``"posterior"``, or
            ``"posterior_along_training"`` with a trajectory; elsewhere ``"l2"``, or ``"l2_along_training"``; and the first
            of ``detectors`` where these hold none of them.
        detectors: All detectors that get a column ``score_<detector>``; the usual ones for the task where left out.
        contamination: Share of samples to flag, in (0, 0.5], or ``"auto"``.
        hold_classes: Whether every given class loses the same share of its samples, so that rare ones are not thinned out.
        groups: Group of each sample, shape (n,), such as a column of the data; each loses the same share of its samples.
            With ``hold_classes``, each combination of class and group does. Groups are read, not kept.
        cross_fit_heads: Whether predictions, and the posterior that is read off them, are those of small heads that are
            cross-fitted on the last layer's features, instead of the model's own. Right where the features were not
            trained on these labels: ``"auto"`` does it where all layers but the last are frozen (``requires_grad=False``);
            ``"always"`` and ``"never"`` decide it.
        findings: Whether to look for what is wrong besides labels, too (``audit.findings``): near duplicates, samples
            outside of the distribution, broken inputs, rare classes. The data set is read once more for it.
        test_set: The test set, whose samples are looked for in the training set, with ``findings``.
        projection: Dimensions of the random projection, where gradients are not kept in factors.
        projection_kind: ``"kronecker"``, ``"sparse"`` or ``"gaussian"``.
        projection_per_layer: Whether ``projection`` dimensions are kept of every layer, instead of their sum.
        batch_size: Samples a batch; ``"auto"`` finds it, and it is halved when memory runs out.
        shard_size: Samples a shard of the run directory; fewer where they would take more than 128 MiB.
        precision: ``"float32"`` (the model's own precision), ``"bfloat16"`` or ``"float16"`` by autocast.
        seed: Seed of projections and detectors.
        trajectory: What a :class:`~gradsift.Recorder` has collected while the model was trained, or the folder it was
            saved to; adds scores averaged along training.
        class_names: Names of the classes; ``train_set.classes`` where left out.
        output: Run directory to write, a path or a URL; a temporary one where left out. An unfinished one of the same run
            is resumed.
        overwrite: Whether a whole run directory, or unfinished work of another run, may be replaced.
        engine: What computes the gradients: ``"local"``, ``"ray"``, or such as ``gradsift.engines.Ray(workers=8)``.
        source: What a command line needs to replay the run, kept in ``config.yaml``.
        show_progress: Whether to show progress bars.

    Returns:
        The audit: its table, report and trim.

    Raises:
        DataError: The data set cannot be audited as it is.
        ModelError: The model is in the wrong mode, mixes the samples of a batch, or gives no loss for each sample.
        SettingError: A setting is outside its range or does not fit the task.
        RunDirectoryError: The output is taken, belongs to another run, or cannot be written.
    """
    settings = AuditSettings(
        layers=layers if isinstance(layers, str) else tuple(layers),
        detector=detector,
        detectors=(detectors,) if isinstance(detectors, str) else tuple(detectors) if detectors is not None else None,
        contamination=contamination,
        hold_classes=hold_classes,
        cross_fit_heads=cross_fit_heads,
        findings=findings,
        projection=projection,
        projection_kind=projection_kind,
        projection_per_layer=projection_per_layer,
        batch_size=batch_size,
        shard_size=shard_size,
        precision=precision,
        seed=seed,
    )
    refuse_unconnected()
    runs = together(lambda: _engine_writing_to(output, engine, overwrite))
    members = None if groups is None else np.asarray(groups)
    tested = None if test_set is None else Samples(test_set)
    request = Request(settings, members, class_names, output, overwrite, source or {}, show_progress, runs, tested)
    recorded = read_trajectory(trajectory)
    if evidence is None and is_estimator(model):
        Samples(train_set)  # refuses what cannot be read by position before anything is fitted
        evidence, data = evidence_of_estimator(model, *_inputs_and_labels(train_set), seed=seed), train_set
    elif evidence is None:
        _refuse_without_probabilities(model)
        return audit_model(model, train_set, task, recorded, request)
    elif model is not None or train_set is not None:
        raise SettingError("give a model with its training set, or evidence with data=..., not both")
    if not isinstance(runs, Local):
        raise SettingError("an engine runs a torch model over its data, and no model is given: leave engine out")
    return audit_evidence(evidence if recorded is None else evidence.with_(trajectory=recorded), data, request)


def audit_part(
    model: Any,
    train_set: Any,
    part: tuple[int, int],
    *,
    output: str | Location,
    task: str | Task = "classification",
    trajectory: Recorder | Trajectory | str | Location | None = None,
    class_names: Sequence[str] | None = None,
    source: Mapping[str, Any] | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> PartDone:
    """Computes one part of an audit, in a process on its own, as array jobs of SLURM and others start them.

    Parts need no connection to each other, only a folder that all can write. Each may be given again, until
    :func:`merge` finds all of them.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <...>
        >>> inputs, labels = torch.randn(40, 3), torch.arange(40) % 2
        >>> model, folder = torch.nn.Linear(3, 2).eval(), Path(tempfile.mkdtemp()) / "run"
        >>> for number in (1, 2):  # two jobs
        ...     done = audit_part(model, (inputs, labels), (number, 2), output=folder, shard_size=10)
        >>> done.part, done.rows, done.share.computed
        ('2/2', range(20, 40), 2)
        >>> len(merge(folder, (inputs, labels)))
        40

    Args:
        model: The trained torch model, in eval mode.
        train_set: The data it was trained on; as for :func:`audit`. A part reads its own samples, and a few to check.
        part: Which part, from 1, and how many there are.
        output: Run directory to write, the same for all parts.
        task: As for :func:`audit`.
        trajectory: As for :func:`audit`.
        class_names: As for :func:`audit`.
        source: What a command line needs to replay the run, kept in ``config.yaml``.
        show_progress: Whether to show progress bars.
        **settings: The same for all parts, as for :func:`audit`: ``layers``, ``detectors``, ``contamination``, ...

    Returns:
        What was done.

    Raises:
        DataError: The data set cannot be audited as it is.
        ModelError: The model cannot be audited as it is.
        SettingError: There is no such part, or a setting is outside its range.
        RunDirectoryError: The output is of another run or of other settings, or the part is being computed by another
            process.
    """
    asked = Request(
        AuditSettings.from_dict(settings),
        class_names=class_names,
        output=output,
        source=source or {},
        show_progress=show_progress,
    )
    return audit_one_part(model, train_set, task, read_trajectory(trajectory), asked, Part(*part))


def merge(
    path: str | Location,
    train_set: Any = None,
    model: Any = None,
    *,
    task: str | Task = "classification",
    groups: Any = None,
    test_set: Any = None,
    trajectory: Recorder | Trajectory | str | Location | None = None,
    show_progress: bool = True,
) -> Audit:
    """Completes an audit of which all parts are done: scores, table and page, by the settings of the parts.

    Nothing is computed again. Without the data set there are no duplicates in the reasons and no samples on the page; all
    scores are the same.

    Args:
        path: The run directory, as it was given to :func:`audit_part`.
        train_set: The data set, where it is at hand.
        model: The model, by which the page highlights tokens of texts.
        task: What a sample's loss is, with ``model``.
        groups: As for :func:`audit`.
        test_set: As for :func:`audit`.
        trajectory: The one that was given to the parts.
        show_progress: Whether to show progress bars.

    Returns:
        The audit.

    Raises:
        RunDirectoryError: There are no parts, or some are missing, being computed, damaged, or of another run.
        DataError: Data set or trajectory are not those of the parts.
    """
    at_hand = AtHand(train_set, model, get_task(task), read_trajectory(trajectory))
    members = None if groups is None else np.asarray(groups)
    tested = None if test_set is None else Samples(test_set)
    return merge_parts(path, at_hand, Request(AuditSettings(), members, show_progress=show_progress, test_set=tested))


def audit_predictions(
    labels: Any,
    probabilities: Any = None,
    *,
    features: Any = None,
    logits: Any = None,
    data: Any = None,
    out_of_fold: bool = False,
    class_names: Sequence[str] | None = None,
    **options: Any,
) -> Audit:
    """Finds samples with wrong labels from what a model of any framework predicts; no model and no gradients are needed.

    From features alone, of a frozen or another model, small heads are cross-fitted in seconds: each sample is predicted by
    heads that have not seen it. Where features are the inputs of a last linear layer, its gradients ``(p - e_y) h^T``
    follow, and with them the scores of the paper (L1, L2, isolation forest).

    Example:
        >>> probabilities = [[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.95, 0.05]]
        >>> audit = audit_predictions(["cat", "cat", "dog", "dog"], probabilities, contamination=0.25)
        >>> audit.flagged_positions.tolist(), audit.class_names
        ([3], ['cat', 'dog'])

    Args:
        labels: Given labels, shape (n,): class numbers or words.
        probabilities: Predicted probabilities, shape (n, K), or (n,) of the second of two classes.
        features: Features by which neighbours are found, shape (n, D).
        logits: Logits instead of probabilities, shape (n, K).
        data: The data set, for trimming and previews.
        out_of_fold: Whether each sample was predicted by a model that has not seen it (``cross_val_predict``); such
            predictions tell much more than those of the model that was trained on them.
        class_names: Names of the classes in the order of the columns.
        **options: As for :func:`audit`: ``detector``, ``contamination``, ``groups``, ``output`` and others.

    Returns:
        The audit.

    Raises:
        DataError: An array has another shape, another number of rows, NaN, or values outside its range.
        SettingError: An option is unknown or outside its range.
    """
    evidence = evidence_of_arrays(
        labels,
        probabilities,
        logits=logits,
        features=features,
        class_names=class_names,
        provenance="out-of-fold" if out_of_fold else "unknown",
    )
    if "predictions" not in evidence.known:
        of_heads = {name: options[name] for name in ("seed", "show_progress") if name in options}
        evidence = evidence_of_features(evidence, **of_heads)
    return audit(evidence=evidence, data=data, **options)


def _engine_writing_to(output: str | Location | None, engine: str | Engine, overwrite: bool) -> Engine:
    """The engine, once it is known that it answers, and that this process and its workers can write the output."""
    if output is not None:
        refuse_before_work(as_location(output), overwrite)
    runs = get_engine(engine)
    if isinstance(runs, Ray):
        runs.refuse_unreachable()
    if output is None and getattr(runs, "address", None) is not None:
        raise SettingError(
            "workers on other machines see no temporary folder: give output=..., a folder that all can write"
        )
    return runs


def _refuse_without_probabilities(model: Any) -> None:
    """Refuses an estimator of scikit-learn's kind that predicts no probabilities."""
    if callable(getattr(model, "fit", None)) and hasattr(model, "get_params"):
        raise ModelError(
            f"{type(model).__name__} has no predict_proba, which an audit reads: wrap a classifier in "
            "sklearn.calibration.CalibratedClassifierCV, or give its predictions to gradsift.audit_predictions"
        )


def _inputs_and_labels(train_set: Any) -> tuple[Any, Any]:
    """The two parts of ``(X, y)``, or of a data frame.

    Raises:
        DataError: It is something else.
    """
    if is_frame(train_set):
        return split_label(train_set)
    if isinstance(train_set, tuple | list) and len(train_set) == 2:
        return train_set[0], train_set[1]
    raise DataError(
        "an estimator is audited with its training set (X, y), or a data frame with a column of labels; got a "
        f"{type(train_set).__name__}"
    )
