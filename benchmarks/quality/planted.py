"""A Fashion-MNIST problem in which four kinds of samples are planted, so that reasons can be scored against the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quality.regimes import Problem, fashion

CLEAN, WRONG, AMBIGUOUS, ATYPICAL, DUPLICATE = KINDS = ("clean", "wrong_label", "ambiguous", "atypical", "duplicate")
"""What a sample is; those that are planted go by the names of the reasons that should be given for them."""
SHARE = 0.03
"""Share of the samples that each kind is planted in; of duplicates, pairs count as two."""


def planted(data: Path, seed: int) -> tuple[Problem, np.ndarray]:
    """Plants four kinds of samples at disjoint positions, 3 % each.

    * ``wrong_label``: the label is another class, drawn evenly.
    * ``ambiguous``: the mean of two images of different classes, labelled as one of the two.
    * ``atypical``: a right label, but the image is upside down, on its side, a negative, half covered, buried in noise, or
      shuffled in patches, drawn evenly.
    * ``duplicate``: a copy of another image under another label, and the image it is a copy of.

    Args:
        data: Folder of the data sets.
        seed: Seeds the subset and what is planted.

    Returns:
        The draw, whose true labels are those of the images (of a mean, the one that was given), and the kind of each
        sample, shape (n,), of :data:`KINDS`.
    """
    clean = fashion(data, seed, plant=lambda _x, y, _seed: y.copy())
    generator = np.random.default_rng([seed, 60])
    images, given, true = clean.inputs.clone(), clean.given.copy(), clean.true.copy()
    size, classes = len(given), int(true.max()) + 1
    count = 2 * round(SHARE * size / 2)
    wrong, mixed, odd, twins, rest = np.split(generator.permutation(size), np.arange(1, 5) * count)
    kinds = np.full(size, CLEAN, dtype="U16")
    kinds[wrong], kinds[mixed], kinds[odd], kinds[twins] = WRONG, AMBIGUOUS, ATYPICAL, DUPLICATE

    originals, copies = np.split(twins, 2)
    images[copies], true[copies] = images[originals], true[originals]
    for relabelled in (wrong, copies):
        given[relabelled] = (true[relabelled] + generator.integers(1, classes, len(relabelled))) % classes
    others = [generator.choice(rest[true[rest] != one]) for one in true[mixed]]
    images[mixed] = (clean.inputs[mixed] + clean.inputs[others]) / 2
    spoils = generator.integers(0, len(SPOILS), len(odd))
    for position, spoil in zip(odd, spoils, strict=True):
        images[position] = SPOILS[spoil](clean.inputs[position], generator)
    drawn = Problem(images, given, true, clean.validation, clean.test, clean.network, clean.recipe)
    return drawn, kinds


def covered(image: Tensor, generator: np.random.Generator) -> Tensor:
    """Half of the image is covered, on a side that is drawn."""
    side, middle = int(generator.integers(4)), image.shape[2] // 2
    turned = image.rot90(side, (1, 2)).clone()
    turned[:, :, :middle] = image.min()
    return turned.rot90(-side, (1, 2))


def shuffled(image: Tensor, generator: np.random.Generator) -> Tensor:
    """Patches of 7 x 7 pixels in an order that is drawn."""
    patches = image.unfold(1, 7, 7).unfold(2, 7, 7).reshape(16, 7, 7)[generator.permutation(16)]
    return patches.reshape(4, 4, 7, 7).permute(0, 2, 1, 3).reshape(image.shape)


def noisy(image: Tensor, generator: np.random.Generator) -> Tensor:
    """Noise as strong as the image's own contrast is added."""
    return image + image.std() * torch.from_numpy(generator.standard_normal(image.shape)).float()


SPOILS = (
    lambda image, _: image.flip(1),
    lambda image, _: image.rot90(1, (1, 2)),
    lambda image, _: image.min() + image.max() - image,
    covered,
    noisy,
    shuffled,
)
"""What makes an image atypical; the label stays right."""
