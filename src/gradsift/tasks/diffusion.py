"""Denoising diffusion: how well a model tells the noise in a sample."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.data.batch import COLUMNS, Batch, is_traced, label_key, labels_of, shape_in_words
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.tasks.classification import Classification

logger = logging.getLogger(__name__)

INPUT_KEYS = ("x", "image", "images", "pixel_values", "input", "inputs")
"""Keys of a dict sample that are taken for what is to be denoised, in this order."""

DRAWS = 32
"""Draws by which a sample is compared under every condition: 8 tell far less (docs/how-to/diffusion.md)."""

Predicts = Literal["noise", "sample", "velocity"]


class Denoising:
    """Loss of a denoising diffusion model, ``l = mean over (t, eps) of |eps - f(x_t, t)|^2 / d`` (Ho et al., 2020).

    ``x_t = sqrt(a_t) x + sqrt(1 - a_t) eps`` with ``a_t = prod_{s <= t} (1 - beta_s)``; d is the number of entries of a
    sample. The draws (t, eps) come from the seed alone: every sample sees the same ones, at each call, so that losses
    of two samples, or of one sample at two states of the model, differ by the sample and the model and not by chance.
    Times are stratified, one in each of ``draws`` equal parts of the schedule.

    The model is called once a draw, as ``model(x_t, t)`` with t of shape (n,), int64, so every layer sees one row a
    sample and the fast backends of per-sample gradients stay open.

    Args:
        draws: Number S of shared draws.
        timesteps: Number T of steps of the schedule that the model was trained with.
        schedule: ``"linear"``: beta from 1e-4 to 0.02 at T = 1000, times 1000 / T otherwise, at most 0.999 (Ho et al.);
            ``"cosine"``: ``a_t = cos^2((t / T + 0.008) / 1.008 * pi / 2)``, beta at most 0.999 (Nichol and Dhariwal,
            2021); or the betas themselves, shape (T,), in (0, 1), in place of ``timesteps``.
        predicts: What the model gives: the noise, the clean sample, or the velocity ``sqrt(a_t) eps - sqrt(1 - a_t)
            x``.
        conditional: Whether the model also takes what stands beside the images: ``model(x_t, t, *rest)`` for a tuple
            ``(x, *rest)``, ``model(x_t, t, **rest)`` for a dict. Otherwise it is left aside, such as a class that is
            only for your information.
        seed: Seed of the draws.

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        *,
        draws: int = 8,
        timesteps: int = 1000,
        schedule: Literal["linear", "cosine"] | Tensor = "linear",
        predicts: Predicts = "noise",
        conditional: bool = False,
        seed: int = 0,
    ) -> None:
        if predicts not in ("noise", "sample", "velocity"):
            raise SettingError(f"a diffusion model predicts 'noise', 'sample' or 'velocity', given {predicts!r}")
        self.kept = kept_share(schedule, timesteps)
        if not 1 <= draws <= len(self.kept):
            raise SettingError(f"draws must be between 1 and the {len(self.kept)} steps of the schedule, given {draws}")
        self.draws, self.predicts, self.conditional, self.seed = draws, predicts, conditional, seed
        edges = np.linspace(0, len(self.kept), draws + 1)
        places = edges[:-1] + np.random.default_rng(seed).random(draws) * np.diff(edges)
        self.times = np.minimum(places.astype(np.int64), len(self.kept) - 1)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs the model on every draw.

        Args:
            model: The model; a tensor, or an object with ``sample``, comes out.
            batch: Images, shape (n, ...); a tuple whose first element they are; or a dict that holds them under a key
            of
                :data:`INPUT_KEYS`.

        Returns:
            Shape (n, S, ...), at least float32.

        Raises:
            ModelError: The model gives something else.
            DataError: The batch holds no images.
        """
        images, arguments, keywords = self._parts(batch)
        predictions = []
        for time, noise in zip(self.times.tolist(), self._noise(images), strict=True):
            times = torch.full((len(images),), time, dtype=torch.int64, device=images.device)
            output = self._prediction(model, self._mixed(images, noise, time), times, arguments, keywords)
            output = getattr(output, "sample", output) if not isinstance(output, Tensor) else output
            if not isinstance(output, Tensor) or output.shape != images.shape:
                raise ModelError(
                    f"the model gives {shape_in_words(output)} for noisy samples of shape {tuple(images.shape)}: denoising "
                    "needs model(x_t, t) -> prediction of the same shape"
                )
            predictions.append(output.float() if output.dtype in (torch.float16, torch.bfloat16) else output)
        return torch.stack(predictions, dim=1)

    def _prediction(
        self, model: nn.Module, noisy: Tensor, times: Tensor, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        try:
            return model(noisy, times, *arguments, **keywords)
        except IndexError as error:
            raise ModelError(
                f"the model fails at step {int(times[0])} of {len(self.kept)}: {error}. If it was trained with a schedule "
                "of another length, pass it (timesteps=... or schedule=...); if it takes conditions, these must be its own"
            ) from error

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Squared error of each sample, averaged over draws and entries.

        Args:
            outputs: Predictions, shape (n, S, ...).
            batch: The same batch.

        Returns:
            Shape (n,).
        """
        images, _, _ = self._parts(batch)
        total = outputs.new_zeros(len(images))
        for draw, (time, noise) in enumerate(zip(self.times.tolist(), self._noise(images), strict=True)):
            target = self._target(images, noise, time).to(outputs)
            total = total + (outputs[:, draw] - target).square().flatten(1).mean(dim=1)
        return total / self.draws

    def warn_of_misfit(self, outputs: Tensor, batch: Batch) -> None:
        """Says where the model is no better than one that gives zero, as one of another schedule is.

        Args:
            outputs: Predictions, shape (n, S, ...).
            batch: The same batch.
        """
        images, _, _ = self._parts(batch)
        targets = [self._target(images, *draw) for draw in zip(self._noise(images), self.times.tolist(), strict=True)]
        error_of_zero = float(torch.stack([target.expand_as(images).square().mean() for target in targets]).mean())
        error = float(self.losses(outputs, batch).detach().mean())
        if error >= error_of_zero:
            logger.warning(
                "the model's squared error is %.3g, and zero would have %.3g: was it trained with %d steps of this "
                "schedule, with samples on this scale, and to predict the %s? Say it with timesteps, schedule and predicts",
                *(error, error_of_zero, len(self.kept), self.predicts),
            )

    def _parts(self, batch: Batch) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
        """Images, and what else the model takes."""
        images: Any = None
        arguments: tuple[Any, ...] = ()
        keywords: dict[str, Any] = {}
        if isinstance(batch, Tensor):
            images = batch
        elif isinstance(batch, tuple | list) and batch:
            images, arguments = batch[0], tuple(batch[1:])
        elif isinstance(batch, dict):
            key = next((name for name in INPUT_KEYS if name in batch), None)
            if key is None:
                raise DataError(
                    f"no images in a sample with the keys {sorted(batch)}: name them one of {', '.join(INPUT_KEYS)}"
                )
            images = batch[key]
            keywords = {name: value for name, value in batch.items() if name not in (key, "id")}
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim < 2:
            raise DataError(
                f"denoising needs floating-point samples of shape (n, ...), given {_type_and_shape(images)}: scale pixels "
                "to -1 ... 1"
            )
        return (images, arguments, keywords) if self.conditional else (images, (), {})

    def _noise(self, images: Tensor) -> Tensor:
        """The shared draws of noise for samples of this shape, (S, ...). From numpy: the same on every device."""
        noise = np.random.default_rng([self.seed, 1]).standard_normal((self.draws, *images.shape[1:]))
        return torch.from_numpy(noise).to(images.device, images.dtype)

    def _mixed(self, images: Tensor, noise: Tensor, time: int) -> Tensor:
        signal = float(self.kept[time])
        return math.sqrt(signal) * images + math.sqrt(1 - signal) * noise

    def _target(self, images: Tensor, noise: Tensor, time: int) -> Tensor:
        if self.predicts == "noise":
            return noise
        if self.predicts == "sample":
            return images
        signal = float(self.kept[time])
        return math.sqrt(signal) * noise - math.sqrt(1 - signal) * images


class ConditionalDenoising(Denoising):
    """The same loss of a model whose condition is a class: samples with another class's condition are told, too.

    The loss under each class tells which class a sample looks like (Li et al., Your Diffusion Model is Secretly a Zero-Shot
    Classifier, ICCV 2023): more draws tell more. The model is called as ``model(x_t, t, y)``, or ``model(x_t, t, **rest)``
    where samples are dicts, whose label key names the class.

    Args:
        conditions: Number of classes K.
        draws: Number S of shared draws; 32 where left out, or the number of steps where these are fewer.
        timesteps: As for :class:`Denoising`.
        schedule: As for :class:`Denoising`.
        predicts: As for :class:`Denoising`.
        seed: Seed of the draws.

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        *,
        conditions: int,
        draws: int | None = None,
        timesteps: int = 1000,
        schedule: Literal["linear", "cosine"] | Tensor = "linear",
        predicts: Predicts = "noise",
        seed: int = 0,
    ) -> None:
        steps = len(kept_share(schedule, timesteps))
        super().__init__(
            draws=min(DRAWS, steps) if draws is None else draws, timesteps=timesteps, schedule=schedule,
            predicts=predicts, conditional=True, seed=seed,
        )  # fmt: skip
        if conditions < 2:
            raise SettingError(f"conditions is the number of classes, at least 2, given {conditions}")
        self.conditions = conditions

    def labels(self, batch: Batch) -> Tensor:
        """The class that each sample was conditioned on.

        Args:
            batch: The batch.

        Returns:
            Shape (n,), int64.

        Raises:
            DataError: Conditions are not one class number a sample.
            SampleError: Some are outside of 0 ... K - 1.
        """
        classes = labels_of(batch)
        if not isinstance(classes, Tensor) or classes.ndim != 1 or classes.is_floating_point():
            raise DataError(f"conditions are class numbers of shape (n,), given {_type_and_shape(classes)}")
        if not is_traced(classes):
            Classification.check_range(classes, self.conditions)
        return classes.long()

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Runs the model on every draw, with the given conditions; see :meth:`Denoising.outputs`."""
        self.labels(batch)
        return super().outputs(model, batch)

    def under(self, batch: Batch, condition: int) -> Batch:
        """The same samples, all with one condition.

        Args:
            batch: The batch.
            condition: Class number.

        Returns:
            A batch.
        """
        conditions = torch.full_like(labels_of(batch), condition)
        return batch | {label_key(batch): conditions} if isinstance(batch, dict) else (*batch[:-1], conditions)

    def features(self, batch: Batch) -> Tensor | None:
        """The entries of each sample, where they are few: neighbours are found by them.

        Args:
            batch: The batch.

        Returns:
            Shape (n, d); ``None`` where d is above 1,024.
        """
        images = self._parts(batch)[0].flatten(1)
        return images if images.shape[1] <= COLUMNS else None


def kept_share(schedule: str | Tensor, timesteps: int) -> Tensor:
    """How much of a sample is left at each step, ``a_t = prod_{s <= t} (1 - beta_s)``.

    Args:
        schedule: ``"linear"``, ``"cosine"``, or betas of shape (T,); see :class:`Denoising`.
        timesteps: Number of steps T; not read where betas are given.

    Returns:
        Shape (T,), float64, falling.

    Raises:
        SettingError: The schedule is unknown, or betas are outside (0, 1).
    """
    if isinstance(schedule, Tensor):
        betas = schedule.detach().cpu().double()
        if betas.ndim != 1 or not len(betas) or not bool(((betas > 0) & (betas < 1)).all()):
            raise SettingError(f"betas must be of shape (T,) and in (0, 1), given shape {tuple(betas.shape)}")
        return (1 - betas).cumprod(0)
    if timesteps < 1:
        raise SettingError(f"timesteps must be at least 1, given {timesteps}")
    if schedule == "linear":
        scale = 1000 / timesteps
        betas = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64)
    elif schedule == "cosine":
        progress = (torch.arange(timesteps + 1, dtype=torch.float64) / timesteps + 0.008) / 1.008
        kept = (progress * math.pi / 2).cos().square()
        betas = 1 - kept[1:] / kept[:-1]
    else:
        raise SettingError(f"unknown schedule {schedule!r}: choose linear or cosine, or pass betas as a tensor")
    return (1 - betas.clamp(max=0.999)).cumprod(0)


def _type_and_shape(value: object) -> str:
    """Type and shape of a tensor, for a message."""
    return f"{value.dtype} of {shape_in_words(value)}" if isinstance(value, Tensor) else type(value).__name__
