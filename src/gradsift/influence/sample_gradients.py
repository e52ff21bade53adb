"""The gradients of a data set, sample by sample, as every influence method reads them; without the n x p matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

import numpy as np
import torch
from torch import nn

from gradsift.curvature.loss import Batches, MeanLoss, wide
from gradsift.curvature.vectors import Directions, count
from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.data.batch import batch_size as batch_size_of
from gradsift.errors import DataError, naming_samples
from gradsift.gradients import Batcher, Layers, PerSampleGradients, Precision, check_mode, device_of, probe
from gradsift.gradients.backend import Take
from gradsift.gradients.batches import check_finite_inputs, each_batch
from gradsift.gradients.forms import Dense, Form
from gradsift.gradients.model_state import unwrapped
from gradsift.gradients.selection import refuse_complex
from gradsift.influence.stored_factors import StoredFactors, refuse_other_run
from gradsift.progress import Bar, progress
from gradsift.store import RunDirectory
from gradsift.tasks import Task, task_for

KEPT_BYTES = 256 * 2**20
"""Gradients are kept between visits where all of them weigh at most this."""
CHUNK_BYTES = 128 * 2**20
"""Most bytes of directions that are handled at a time."""

T = TypeVar("T")
Visitor = Callable[[np.ndarray, str, Form], None]


class SampleGradients:
    """Per-sample gradients of a data set at a model's weights, visited as often as a method needs them.

    Gradients that are small are kept after the first visit (the last layer's as their two factors, an adapter's whole);
    others are computed again at each visit, so memory never grows with the number of samples beyond ``keep_bytes``. Several
    methods share one store: ``InnerProduct().fit_gradients(store)``, ``DataInf().fit_gradients(store)``.

    Args:
        model: The trained model, in eval mode; its weights must stay as they are.
        train_set: The data set; anything that :func:`gradsift.audit` takes.
        task: The task or its name.
        layers: Whose gradients; see :func:`~gradsift.gradients.selection.select_parameters`.
        batch_size: Samples a batch, or ``"auto"``.
        precision: Precision of the passes.
        keep_bytes: Most bytes of gradients that are kept between visits; 0 keeps none.
        run: A run directory of an audit of the same model and data with ``layers="last"``: its stored factors are read and
            no pass over the data is needed.
        show_progress: Whether to show progress bars.

    Attributes:
        model: The model.
        task: The task.
        samples: The data set.
        parameters: Full name to selected parameter.

    Raises:
        ModelError: The model is in the wrong mode, or does not run on the data.
        DataError: The data set cannot be read, or the run directory is of another one.
    """

    def __init__(
        self,
        model: nn.Module,
        train_set: Any,
        *,
        task: str | Task = "classification",
        layers: Layers = "all",
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "float32",
        keep_bytes: int = KEPT_BYTES,
        run: RunDirectory | None = None,
        show_progress: bool = True,
    ) -> None:
        self.model, self.samples = unwrapped(model), Samples(train_set)
        self.layers, self.precision, self.show_progress = layers, precision, show_progress
        self.keep_bytes = keep_bytes
        positions = self.samples.evenly_spaced(8)
        example = self.samples.batch(positions)
        check_finite_inputs(example, positions)
        check_mode(self.model)
        self.task = task_for(task, self.model, self.samples)
        with naming_samples(positions):
            self._gradients = PerSampleGradients(self.model, self.task, example, layers=layers, precision=precision)
        self.parameters = self._gradients.parameters
        refuse_complex(self.parameters, "influence")
        self.batch_size = Batcher.fitting(self.model, self.task, example).size if batch_size == "auto" else batch_size
        probe(self._gradients, self.samples, None, batch_size=self.batch_size)
        self._kept: Iterable[tuple[np.ndarray, Mapping[str, Form]]] | None = None
        if run is not None:
            refuse_other_run(run, self.model, self.samples)
            self._kept = StoredFactors(run, len(self.samples), self.parameters)
        self._keeps = self._bytes_a_sample(example) * len(self.samples) <= keep_bytes

    def __len__(self) -> int:
        """Number of samples n."""
        return len(self.samples)

    @property
    def device(self) -> torch.device:
        """Where the gradients are computed."""
        return device_of(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """In which directions are held: the parameters' own, float32 at least."""
        return wide(next(iter(self.parameters.values())).dtype)

    @property
    def size(self) -> int:
        """Number of selected parameters' entries p."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def chunk(self) -> int:
        """How many directions are handled at a time."""
        return max(1, CHUNK_BYTES // (4 * self.size))

    def at(self, model: nn.Module) -> Self:
        """The same samples' gradients at another model, or at the same model after its weights have changed.

        Args:
            model: The model, in eval mode.

        Returns:
            A new store with the same settings, in which nothing is kept yet.
        """
        return type(self)(
            model,
            self.samples.source,
            task=self.task,
            layers=self.layers,
            batch_size=self.batch_size,
            precision=self.precision,
            keep_bytes=self.keep_bytes,
            show_progress=self.show_progress,
        )

    def mean_loss(self, positions: np.ndarray | None = None) -> MeanLoss:
        """The samples' mean loss, whose curvature may be asked for.

        Args:
            positions: Of which samples; all where left out.

        Returns:
            The mean loss, as a function of the selected parameters.
        """
        positions = np.arange(len(self)) if positions is None else np.asarray(positions)
        batches = Batches(self.samples, positions, self.batch_size, self.model)
        return MeanLoss(self.model, self.task, self.parameters, batches, len(positions), self.precision)

    def visit(self, visitor: Visitor, what: str = "gradients") -> None:
        """Goes through all samples' gradients, batch by batch and parameter by parameter.

        Args:
            visitor: Called with positions, a parameter's name, and that batch's gradients of it.
            what: What is being done, for the progress bar.

        Raises:
            DataError: Some samples cannot be used; names them.
        """
        if self._kept is not None:
            for positions, forms in self._kept:
                for name, form in forms.items():
                    visitor(positions, name, form)
            return

        def take(positions: np.ndarray, batch: Batch) -> dict[str, Form]:
            forms: dict[str, Form] = {}

            def take_form(name: str, form: Form) -> None:
                visitor(positions, name, form)
                if self._keeps:
                    forms[name] = smallest(form)

            self._run(positions, batch, take_form)
            return forms

        positions = np.arange(len(self))
        with progress(what, len(self), show=self.show_progress) as bar:
            visited = each_batch(take, self.samples.batch, positions, self.batch_size, bar=bar)
            kept = [part for part in visited if self._keeps]
        if self._keeps:
            self._kept = kept

    def products(self, directions: Directions) -> np.ndarray:
        """Inner products of every sample's gradient with each direction.

        Args:
            directions: m vectors.

        Returns:
            Shape (n, m), float64.
        """
        return sum(self.products_by_parameter(directions).values(), np.zeros((len(self), count(directions))))

    def products_by_parameter(self, directions: Directions) -> dict[str, np.ndarray]:
        """Inner products, parameter by parameter.

        Args:
            directions: m vectors.

        Returns:
            Full name to shape (n, m), float64.
        """
        products = {name: np.zeros((len(self), count(directions))) for name in directions}

        def add(positions: np.ndarray, name: str, form: Form) -> None:
            if name in products:
                products[name][positions] = form.products(directions[name]).double().cpu().numpy()

        self.visit(add, "inner products")
        return products

    def squares(self) -> np.ndarray:
        """Squared length of every sample's gradient.

        Returns:
            Shape (n,), float64.
        """
        return sum(self.squares_by_parameter().values(), np.zeros(len(self)))

    def squares_by_parameter(self) -> dict[str, np.ndarray]:
        """Squared lengths, parameter by parameter.

        Returns:
            Full name to shape (n,), float64.
        """
        squares = {name: np.zeros(len(self)) for name in self.parameters}

        def add(positions: np.ndarray, name: str, form: Form) -> None:
            squares[name][positions] = form.l2_squared().double().cpu().numpy()

        self.visit(add, "gradient norms")
        return squares

    def sums(self, weights: np.ndarray | Mapping[str, np.ndarray]) -> Directions:
        """Weighted sums of the samples' gradients, ``sum_i w_ic g_i``.

        Args:
            weights: Shape (n, c), one for all parameters or one a parameter.

        Returns:
            c vectors.
        """
        of = {name: weights if isinstance(weights, np.ndarray) else weights[name] for name in self.parameters}
        columns = next(iter(of.values())).shape[1]
        sums = self.zeros(columns)

        def add(positions: np.ndarray, name: str, form: Form) -> None:
            sums[name] += form.sums(torch.from_numpy(of[name][positions]).to(self.device)).to(sums[name])

        self.visit(add, "weighted gradients")
        return sums

    def rows(self, positions: Sequence[int] | np.ndarray) -> Directions:
        """Some samples' gradients as directions, held whole.

        Args:
            positions: Which samples; few enough that their gradients fit into memory.

        Returns:
            len(positions) vectors.
        """
        rows, done = self.zeros(len(positions)), 0

        def take(some: np.ndarray, batch: Batch) -> None:
            def put(name: str, form: Form) -> None:
                rows[name][done : done + len(some)] = form.dense().to(rows[name])

            self._run(some, batch, put)

        for some, _ in each_batch(take, self.samples.batch, np.asarray(positions), self.batch_size):
            done += len(some)
        return rows

    def zeros(self, columns: int) -> Directions:
        """Vectors of zeros.

        Args:
            columns: How many.

        Returns:
            The vectors.
        """
        return {
            name: torch.zeros((columns, *parameter.shape), dtype=self.dtype, device=self.device)
            for name, parameter in self.parameters.items()
        }

    def each_batch(
        self, function: Callable[[np.ndarray, Batch], T], samples: Samples | None = None, *, bar: Bar | None = None
    ) -> Iterator[tuple[np.ndarray, T]]:
        """Calls a function with one batch after the other, on the model's device.

        Args:
            function: Called with positions and batch.
            samples: Of another data set; the store's own where left out.
            bar: Counts samples that are done.

        Returns:
            The positions of each batch, and what the function gave.
        """
        samples = self.samples if samples is None else samples
        positions = np.arange(len(samples))
        return each_batch(function, samples.batch, positions, self.batch_size, model=self.model, bar=bar)

    def _run(self, positions: np.ndarray, batch: Batch, take: Take) -> None:
        """The gradients of one batch, handed over parameter by parameter."""
        losses = self._gradients.visit(batch, take)
        broken = positions[(~torch.isfinite(losses)).cpu().numpy()]
        if len(broken):
            raise DataError(f"the loss is NaN or infinite at positions {broken[:10].tolist()}: leave these samples out")

    def _bytes_a_sample(self, example: Any) -> int:
        sizes: list[int] = []
        self._gradients.visit(example, lambda _name, form: sizes.append(smallest(form).bytes))
        return sum(sizes) // batch_size_of(example)


def smallest(form: Form) -> Form:
    """The same gradients in the form that weighs least.

    Args:
        form: Gradients of one parameter.

    Returns:
        Itself, or the gradients held whole.
    """
    whole = form.bytes_whole
    return form if form.bytes <= whole else Dense(form.dense())
