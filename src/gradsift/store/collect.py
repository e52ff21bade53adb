"""Runs a data set through per-sample gradients and writes the shards."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.errors import ModelError, SampleError
from gradsift.gradients import Batcher, PerSampleGradients, Reduced
from gradsift.gradients.batching import is_out_of_memory
from gradsift.gradients.probe import check_finite_inputs, refuse_not_finite
from gradsift.progress import progress
from gradsift.store.processes import rank_and_count
from gradsift.store.run_directory import RunDirectory
from gradsift.tasks import LabelledTask, Task


def collect(
    run: RunDirectory,
    gradients: PerSampleGradients,
    task: Task,
    samples: Samples,
    batcher: Batcher,
    *,
    shard_size: int,
    checkpoint: int = 0,
    show_progress: bool = True,
) -> None:
    """Fills the shards of one checkpoint; whole shards of an earlier try are kept.

    Several processes share the work: each fills every so-manyth shard.

    Args:
        run: Where to write.
        gradients: What to compute.
        task: The task, for labels and predictions.
        samples: The data set.
        batcher: The batch size; halved when memory runs out, from that batch on.
        shard_size: Samples a shard.
        checkpoint: Number of the checkpoint.
        show_progress: Whether to show a progress bar.
    """
    rank, count = rank_and_count()
    starts = range(0, len(samples), shard_size)
    mine = range(rank, len(starts), count)
    lengths = [min(start + shard_size, len(samples)) - start for start in starts]
    with progress("gradients", sum(lengths[shard] for shard in mine), show=show_progress and rank == 0) as bar:
        for shard in mine:
            start, stop = starts[shard], starts[shard] + lengths[shard]
            if run.has_shard(checkpoint, shard):
                bar.advance(stop - start)
                continue
            parts: list[dict[str, np.ndarray]] = []
            position = start
            while position < stop:
                positions = np.arange(position, min(position + batcher.size, stop))
                try:
                    parts.append(reduce_batch(gradients, task, samples, positions))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    batcher.shrink(error)
                    continue
                position += len(positions)
                bar.advance(len(positions))
            run.write_shard(checkpoint, shard, {k: np.concatenate([p[k] for p in parts]) for k in parts[0]})
    if rank == 0:
        run.write_json("manifest.json", run.read_json("manifest.json") | {"shards": lengths})


def reduce_batch(
    gradients: PerSampleGradients, task: Task, samples: Samples, positions: np.ndarray
) -> dict[str, np.ndarray]:
    """Everything that is stored about one batch.

    Args:
        gradients: What to compute.
        task: The task.
        samples: The data set.
        positions: Which samples.

    Returns:
        Name of the statistic to array, first axis = samples.

    Raises:
        DataError: Samples cannot be used, or have infinite losses or gradients; names them.
    """
    batch = samples.batch(positions)
    check_finite_inputs(batch, positions)
    try:
        reduced = gradients(batch)
        stored = {"loss": reduced.losses, **reduced.statistics, **_labels(task, reduced, batch)}
    except SampleError as error:
        raise error.at(positions.tolist()) from error
    refuse_not_finite(stored, positions)
    arrays = {name: values.detach().cpu().numpy() for name, values in stored.items()}
    if isinstance(batch, dict) and "id" in batch:
        arrays["id"] = np.asarray([str(one.item() if isinstance(one, Tensor) else one) for one in batch["id"]])
    return arrays


def _labels(task: Task, reduced: Reduced, batch: Batch) -> dict[str, Tensor]:
    if not isinstance(task, LabelledTask):
        return {}
    predictions, labels = task.predictions(reduced.outputs).detach(), task.labels(batch)
    if predictions.ndim != 2 or len(predictions) != len(reduced.losses):
        raise ModelError(
            f"the task's predictions(outputs) gave shape {tuple(predictions.shape)} for {len(reduced.losses)} samples: "
            "probabilities (or values) of shape (n, K) are needed, not the most probable class"
        )
    return {"prediction": predictions, "label": labels}
