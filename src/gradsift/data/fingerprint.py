"""A short hash that tells one data set from another."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from gradsift.data.arrays import give_back_pages
from gradsift.data.columns import is_sparse
from gradsift.data.content import digest_batches, digest_files
from gradsift.data.frames import is_frame, is_series
from gradsift.data.samples import Samples, is_hub, is_plain_hub

VERSION = "2:"
"""What fingerprints begin with; those of the first version begin with the hash."""
SAMPLED = 256
"""How many samples are hashed where only reading a sample tells what it is."""


def fingerprint_samples(samples: Samples) -> tuple[str, str]:
    """Hashes a data set: arrays, tables, lists and what stands in files whole, anything else by evenly spaced samples.

    Files are hashed by their content and not by their times, so a copy is the same data set; this takes about a second
    for each GB. Of images and other samples that are computed from what is stored, evenly spaced ones are hashed as well,
    so that another transform is another data set.

    Args:
        samples: The data set; where it encodes rows of another one, the rows count.

    Returns:
        The version of the algorithm with the SHA-256 in hexadecimal, and in words what it covers.
    """
    samples = samples.raw
    content = _content(samples)
    sampled, covered = _evenly_spaced(samples) if content is None or not _is_plain(samples) else ("", "all samples")
    digest = hashlib.sha256(f"{len(samples)} {content} {sampled}".encode())
    return VERSION + digest.hexdigest(), "all samples" if content is not None else covered


def glimpse(samples: Samples) -> str:
    """Hashes evenly spaced samples of a data set, at a cost that does not grow with it.

    Args:
        samples: The data set.

    Returns:
        SHA-256 in hexadecimal of its length and 256 samples.
    """
    digest = hashlib.sha256(str(len(samples)).encode())
    for position in samples.raw.evenly_spaced(SAMPLED):
        update_digest(digest, samples.raw.sample(int(position)))
    return digest.hexdigest()


def has_fingerprint(samples: Samples, known: str) -> bool:
    """Whether a data set is the one that a fingerprint was made of, in any version of the algorithm.

    Args:
        samples: The data set.
        known: The fingerprint.

    Returns:
        True where it is the same, as far as the fingerprint covers it.
    """
    if known.startswith(VERSION):
        return fingerprint_samples(samples)[0] == known
    return _evenly_spaced(samples.raw)[0] == known  # of the first version, which hashed arrays whole


def _content(samples: Samples) -> str | None:
    """Hash of everything that is stored, where that can be reached without computing the samples."""
    source = samples.dataset
    if samples.stored is not None:
        return _evenly_spaced(samples)[0]
    if callable(getattr(source, "content", None)):
        return str(source.content())
    if isinstance(source, pa.Table):
        return digest_batches(source.to_batches(), source.schema)
    if is_hub(source):
        tables = source.with_format("arrow").iter(batch_size=1024)
        return digest_batches(batch for table in tables for batch in table.to_batches())
    if isinstance(source, list | tuple):
        with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):  # dicts of plain values
            names = dict.fromkeys(name for row in source for name in _row(row))
            rows = pa.table({name: pa.array([row.get(name) for row in source]) for name in names})
            return digest_batches(rows.to_batches(), rows.schema)
        digest = hashlib.sha256()
        for sample in source:
            update_digest(digest, sample)
        return digest.hexdigest()
    files = getattr(source, "samples", None)  # as torchvision's folders have them
    if (
        isinstance(files, list)
        and files
        and all(isinstance(entry, tuple) and isinstance(entry[0], str) for entry in files)
    ):
        return digest_files([Path(entry[0]) for entry in files], [entry[1:] for entry in files])
    return None


def _row(sample: Any) -> dict[str, Any]:
    if not isinstance(sample, dict):
        raise TypeError("samples are no rows with named columns")
    return sample


def _is_plain(samples: Samples) -> bool:
    """Whether samples are what is stored, and not computed from it."""
    source = samples.dataset
    if is_hub(source):
        return is_plain_hub(source)
    return (
        samples.stored is not None or isinstance(source, pa.Table | list | tuple) or getattr(source, "is_plain", False)
    )


def _evenly_spaced(samples: Samples) -> tuple[str, str]:
    """Hash of whole arrays, or else of evenly spaced samples, and what it covers."""
    digest = hashlib.sha256(str(len(samples)).encode())
    if samples.stored is not None:
        update_digest(digest, samples.stored)
        return digest.hexdigest(), "all samples"
    positions = samples.evenly_spaced(SAMPLED)
    for position in positions:
        update_digest(digest, samples.sample(int(position)))
    covered = "all samples" if len(positions) == len(samples) else f"{len(positions)} of {len(samples)} samples"
    return digest.hexdigest(), covered


PIECE = 8 * 2**20
"""Bytes of an array that are hashed at a time."""


def update_digest(digest: Any, tree: Any) -> None:
    """Adds a sample, or whole columns, to a hash.

    Args:
        digest: The hash.
        tree: Tensors, arrays, images or plain values, in tuples, lists and dicts.
    """
    leaves, structure = tree_flatten(tree)
    digest.update(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            flat = leaf.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        elif isinstance(leaf, np.ndarray | np.generic):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            if array.dtype == object:
                update_digest(digest, array.reshape(-1).tolist())
            elif array.size:
                content = array.reshape(-1).view(np.uint8)
                for start in range(0, len(content), PIECE):
                    digest.update(content[start : start + PIECE].data)
                    give_back_pages(leaf)
        elif is_frame(leaf) or is_series(leaf):
            _update_by_frame(digest, leaf)
        elif is_sparse(leaf):
            rows = leaf.tocsr(copy=True)
            rows.sum_duplicates()
            update_digest(
                digest, [str(rows.shape), rows.data, rows.indices.astype(np.int64), rows.indptr.astype(np.int64)]
            )
        elif callable(getattr(leaf, "tobytes", None)):  # a Pillow image, whose repr says where it lies
            digest.update(f"{type(leaf).__qualname__}{getattr(leaf, 'size', '')}{getattr(leaf, 'mode', '')}".encode())
            digest.update(leaf.tobytes())
        else:
            digest.update(repr(leaf).encode())


def _update_by_frame(digest: Any, frame: Any) -> None:
    """Adds the names and all values of a data frame or series of pandas, whose index does not count."""
    frame = frame.to_frame() if is_series(frame) else frame
    with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        digest.update(digest_batches(table.to_batches(), table.schema).encode())
        return
    for place, name in enumerate(frame.columns):  # values of several kinds in one column
        update_digest(digest, [str(name), frame.iloc[:, place].to_numpy()])
