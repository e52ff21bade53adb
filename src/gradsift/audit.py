"""The main job: from a trained model and its training set to a table of detrimental samples."""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from gradsift.cleaning import crossed, decide, flag
from gradsift.data import fingerprint_samples
from gradsift.detectors import Evidence, WrongLabelPosterior, detrimental_scores
from gradsift.errors import DataError, SettingError
from gradsift.geometry import memorised
from gradsift.gradients import Batcher, Layers, Precision, device_of, probe
from gradsift.gradients.model_state import unwrapped
from gradsift.gradients.projection import VERSION
from gradsift.preparation import Preparation, prepare
from gradsift.progress import progress
from gradsift.report.highlights import write_highlights
from gradsift.settings import AuditSettings
from gradsift.store import ArrayMatrix, RunDirectory, collect, fingerprint_model, fingerprint_settings
from gradsift.store.processes import gathered, leading, rank_and_count, together
from gradsift.table import Audit, build_table, cut_notices, model_notices, predicted_labels
from gradsift.table.audit_result import stored_matrix
from gradsift.table.duplicates import conflicting_duplicates
from gradsift.table.kinds import Beliefs
from gradsift.table.notices import Notice
from gradsift.tasks import LabelledTask, Task
from gradsift.trajectory import Recorder, Trajectory
from gradsift.trajectory.unseen import completed, told, unseen

logger = logging.getLogger(__name__)


def audit(
    model: nn.Module,
    train_set: Any,
    *,
    task: str | Task = "classification",
    layers: Layers = "last",
    detector: str | None = None,
    detectors: str | Sequence[str] | None = None,
    contamination: float | Literal["auto"] = "auto",
    hold_classes: bool = False,
    groups: Any = None,
    projection: int = 512,
    projection_kind: Literal["kronecker", "sparse", "gaussian"] = "kronecker",
    projection_per_layer: bool = False,
    batch_size: int | Literal["auto"] = "auto",
    shard_size: int = 2048,
    precision: Precision = "float32",
    seed: int = 0,
    trajectory: Recorder | Trajectory | str | Path | None = None,
    class_names: Sequence[str] | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    source: Mapping[str, Any] | None = None,
    show_progress: bool = True,
) -> Audit:
    """Finds the training samples that work against a model, by outlier analysis over per-sample gradients.

    Every sample's gradient of its own loss is taken at the trained weights, with the label it was given, and reduced; a
    detector says which gradients are outliers (Chhabra et al., Outlier Gradient Analysis, ICML 2025). Nothing is
    retrained and no validation set is needed.

    Several processes (``accelerate launch``, ``torchrun``) share the work shard by shard; each calls this and gets the
    whole table. The output must lie where all of them can write.

    Args:
        model: The trained model, in eval mode.
        train_set: The data it was trained on: arrays ``(X, y)``, a dict of arrays, a map-style data set, a ``DataLoader``
            that does not shuffle; for models of transformers a :class:`~gradsift.TextSet`, :class:`~gradsift.PromptSet` or
            :class:`~gradsift.ImageSet` of rows. Without random augmentation.
        task: What a sample's loss is: ``"classification"``, ``"binary"``, ``"multilabel"``, ``"regression"``,
            ``"token-classification"``, ``"causal-lm"``, ``"denoising"``, or an object with ``outputs(model, batch)`` and
            ``losses(outputs, batch) -> (n,)``.
        layers: Whose gradients: ``"last"`` (one forward pass), ``"all"``, or glob patterns.
        detector: The detector that ranks and flags. Where left out, for classes and the last layer ``"posterior"``, or
            ``"posterior_along_training"`` with a trajectory; elsewhere ``"l2"``, or ``"l2_along_training"``; and the first
            of ``detectors`` where these hold none of them.
        detectors: All detectors that get a column ``score_<detector>``; the usual ones for the task where left out.
        contamination: Share of samples to flag, in (0, 0.5], or ``"auto"``.
        hold_classes: Whether every given class loses the same share of its samples, so that rare ones are not thinned out.
        groups: Group of each sample, shape (n,), such as a column of the data; each loses the same share of its samples.
            With ``hold_classes``, each combination of class and group does. Groups are read, not kept.
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
        output: Run directory to write; a temporary one where left out. An unfinished one of the same run is resumed.
        overwrite: Whether a whole run directory, or unfinished work of another run, may be replaced.
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
        projection=projection,
        projection_kind=projection_kind,
        projection_per_layer=projection_per_layer,
        batch_size=batch_size,
        shard_size=shard_size,
        precision=precision,
        seed=seed,
    )
    started = time.perf_counter()
    model, recorded = unwrapped(model), _recorded(trajectory)
    ready = together(lambda: prepare(model, train_set, task, settings, recorded, class_names))
    samples, gradients = ready.samples, ready.gradients
    groups = None if groups is None else np.asarray(groups)
    crossed([] if groups is None else [groups], len(samples))  # refused before the first gradient if of another shape
    data_fingerprint, covered = ready.fingerprint or fingerprint_samples(samples)
    identity = {
        "model": fingerprint_model(model),
        "data": data_fingerprint,
        "task": _describe(ready.task),
        "encoding": getattr(train_set, "encoding", None),
        "reductions": repr(gradients.reductions),
        "projection version": VERSION,
        "parameters": list(gradients.parameters),
        "device": device_of(model).type,
        "trajectory": recorded.fingerprint() if recorded is not None else None,
        "settings": {
            k: v for k, v in settings.to_dict().items() if k not in ("contamination", "hold_classes", "batch_size")
        },
    }
    temporary = leading(lambda: tempfile.mkdtemp(prefix="gradsift-")) if output is None else None
    with contextlib.ExitStack() as undone:  # where the audit fails
        if temporary is not None:
            undone.callback(shutil.rmtree, temporary, ignore_errors=True)
        final = Path(output) if output is not None else Path(gathered(temporary)[0]) / "run"
        config: dict[str, Any] = {
            "settings": settings.to_dict() | {"batch_size": ready.batch_size},
            "source": dict(source or {}),
        }
        # Before the first file: a refusal leaves nothing behind.
        measured = together(lambda: probe(gradients, samples, ready.in_float32))
        fingerprint = fingerprint_settings(identity)
        begun = leading(lambda: RunDirectory.begin(final, fingerprint, config, overwrite=overwrite))
        run = undone.enter_context(begun or RunDirectory.joining(final))
        # A resumed run keeps the batch size it began with; what its shards do not depend on may have changed.
        config["settings"] |= {"batch_size": int(run.read_json("manifest.json")["batch_size"])}
        leading(lambda: run.write_config(config))
        batcher = Batcher(config["settings"]["batch_size"])

        seconds = {"prepare": time.perf_counter() - started}
        started = time.perf_counter()
        lengths = together(
            lambda: collect(
                run,
                gradients,
                ready.task,
                samples,
                batcher,
                shard_size=ready.shard_size,
                show_progress=show_progress,
                overlap=device_of(model).type
                != "cpu",  # on a CPU's own cores it gains nothing: docs/performance-scaling.md
            )
        )
        leading(lambda: run.record_shards(lengths))
        seconds["gradients"] = time.perf_counter() - started

        details = {
            "model_fingerprint": identity["model"],
            "data_fingerprint": data_fingerprint,
            "data_fingerprint_covers": covered,
            "task": identity["task"],
            "encoding": identity["encoding"],
            "coverage": str(gradients.coverage),
            "parameters": list(gradients.parameters),
            "probe": {"alone_versus_batch": measured.alone_versus_batch, "precision_noise": measured.precision_noise},
            "precision": precision,
            "projection_version": VERSION,
            "trajectory": recorded.describe() if recorded is not None else None,
            "versions": {name: version(name) for name in ("gradsift", "torch", "numpy", "scikit-learn", "pyarrow")},
        }

        def complete() -> Audit:
            started = time.perf_counter()
            table = _finish(run, ready, settings, recorded, ready.class_names, groups, show_progress, details)
            seconds["scores"] = time.perf_counter() - started
            result = Audit(table, run, train_set)
            for warning in result.warnings:
                logger.warning(warning)
            started = time.perf_counter()
            write_highlights(result, model, ready.task, samples, config["settings"]["batch_size"], precision)
            if temporary is None:
                result.report(run.path / "report.html")
            seconds["report"] = time.perf_counter() - started
            run.write_json(
                "timing.json",
                {
                    "host": platform.node(),
                    "device": _device_name(model),
                    "threads": torch.get_num_threads(),
                    "processes": rank_and_count()[1],
                    "final_batch_size": batcher.size,
                    "seconds": {stage: round(spent, 3) for stage, spent in seconds.items()},
                },
            )
            run.finish()
            return result

        result = leading(complete) or Audit.open(final, train_set)
        undone.pop_all()
    if temporary is not None:
        weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result


def _recorded(trajectory: Recorder | Trajectory | str | Path | None) -> Trajectory | None:
    """The trajectory that was meant.

    Raises:
        SettingError: It is something else.
    """
    if isinstance(trajectory, str | Path):
        return Trajectory.open(trajectory)
    found = trajectory.trajectory if isinstance(trajectory, Recorder) else trajectory
    if found is not None and not isinstance(found, Trajectory):
        raise SettingError(
            f"the trajectory is a {type(found).__name__}: give a Recorder, what it saved, or a Trajectory"
        )
    return found


def _finish(
    run: RunDirectory,
    ready: Preparation,
    settings: AuditSettings,
    recorded: Trajectory | None,
    class_names: Sequence[str] | None,
    groups: np.ndarray | None,
    show_progress: bool,
    details: dict[str, Any],
) -> pa.Table:
    """Scores, table and manifest from the whole shards."""
    task, chosen = ready.task, ready.detectors
    stored = run.stored()
    labels = run.statistic("label").load() if "label" in stored else None
    predictions = ArrayMatrix(run.statistic("prediction")) if "prediction" in stored else None
    losses = run.statistic("loss").load().astype(np.float64)
    kind = task.kind if isinstance(task, LabelledTask) else None
    if kind == "class" and labels is not None and len(np.unique(labels)) < 2 and len(labels) > 1:
        raise DataError(
            f"all {len(labels)} samples have the label {labels[0]}: with one class there is nothing to tell apart"
        )
    features = ArrayMatrix(run.statistic("features")) if "features" in stored else None
    not_drawn = unseen(recorded) if recorded is not None else ()
    if recorded is not None and len(not_drawn):
        final = {name: run.statistic(name).load().astype(np.float64) for name in ("l1", "l2") if name in stored}
        recorded = completed(recorded, final | {"loss": losses}, predictions)
        details["trajectory"] |= {"never_drawn": len(not_drawn)}
    fitted = None
    if kind == "class" and predictions is not None and labels is not None:
        fitted = float((predicted_labels(predictions) == labels).mean())
    observed = {
        "gradients": stored_matrix(run), "predictions": predictions, "losses": losses, "trajectory": recorded,
        "evidence": Evidence(predictions, features),
        "evidence_along_training": Evidence(
            recorded.predictions if recorded is not None else None, features, fitted
        ),
    }  # fmt: skip
    scores = {}
    with progress("detectors", len(chosen), unit="detectors", show=show_progress) as bar:
        for name, one in chosen.items():
            scores[name] = detrimental_scores(one, observed[one.reads], labels if kind == "class" else None)
            bar.advance()
    main = scores[ready.detector]
    columns = [one for one in (labels if settings.hold_classes else None, groups) if one is not None]
    ranking_first = (chosen[ready.detector], *chosen.values())
    believer = next((one for one in ranking_first if isinstance(one, WrongLabelPosterior)), None)
    belief = believer.belief_ if believer is not None else predictions
    held = crossed(columns, len(losses))
    decision = decide(main, settings.contamination, kind=kind, labels=labels, predictions=belief, held=held is not None)
    if held is not None:
        decision = replace(
            decision, words=f"{decision.words} Every one of {len(np.unique(held))} groups loses that share."
        )
    flagged = flag(main, decision.count, held, seed=settings.seed)
    duplicates = None
    if kind == "class" and labels is not None and predictions is not None:
        read = features if features is not None else predictions
        duplicates = conflicting_duplicates(np.flatnonzero(flagged), labels, read, ready.samples)
    table = build_table(
        losses=losses,
        scores=scores,
        detector=ready.detector,
        flagged=flagged,
        kind=kind,
        labels=labels,
        predictions=predictions,
        ids=[str(one) for one in run.statistic("id").load()] if "id" in stored else None,
        class_names=list(class_names) if class_names is not None else None,
        beliefs=Beliefs.of(believer) if believer is not None else None,
        features=features,
        duplicates=duplicates,
        about={"data_fingerprint": details["data_fingerprint"], "run": run.read_json("manifest.json")["fingerprint"]},
    )
    run.write_table(table)
    predicted = table["predicted_label"].to_numpy() if kind == "class" else None
    seen = None
    if features is not None and labels is not None and predicted is not None:
        seen = memorised(features, labels, predicted)
        details["memorised"] = seen.to_dict()
    notices = model_notices(kind, labels, predicted, losses, seen)
    classes = labels if kind == "class" else None
    notices += cut_notices(flagged, main, classes=classes, class_names=class_names, groups=groups)
    if len(not_drawn):
        notices.append(Notice("never_drawn", told(len(not_drawn), len(losses))))
    details |= {"contamination": decision.to_dict(), "notices": [notice.to_dict() for notice in notices]}
    run.update(details)
    return table


def _describe(task: Task) -> str:
    """A task in words, with its settings; without addresses, which differ between two processes."""
    names = list(getattr(task, "__dict__", {})) or [n for c in type(task).__mro__ for n in getattr(c, "__slots__", ())]
    values = {name: getattr(task, name, None) for name in names}
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(task).__module__}.{type(task).__qualname__} {values}")


def _device_name(model: nn.Module) -> str:
    device = device_of(model)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " CPU"
