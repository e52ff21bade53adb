"""Plots of a network's geometry for the page: collapse by layer and along training, spectra, alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH, HEIGHT, MARGIN = 640, 240, 46
FLOOR = 1e-12
"""Smallest value on a logarithmic axis, relative to the largest."""
MOST_SERIES = 6
"""Most layers in the plot along training; they are taken at equal distances."""


@dataclass(frozen=True)
class Series:
    """Dots that belong together.

    Attributes:
        name: What stands in the legend.
        dots: x, y, words of the tooltip, and whether it is marked.
        joined: Whether a line joins them.
        number: Which of the page's colours it has.
    """

    name: str
    dots: list[tuple[float, float, str, bool]]
    joined: bool
    number: int

    @property
    def line(self) -> str:
        """Points of an SVG polyline."""
        return " ".join(f"{x},{y}" for x, y, _, _ in self.dots)


@dataclass(frozen=True)
class Plot:
    """A plot in a box of 640 x 240.

    Attributes:
        name: For the page's id.
        title: What it shows.
        series: What is drawn.
        across: Ticks of the horizontal axis: x and label.
        up: Ticks of the vertical axis: y and label.
        rules: x and label of vertical lines.
        words: How to read it.
    """

    name: str
    title: str
    series: list[Series]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]
    rules: list[tuple[float, str]]
    words: str


def geometry_plots(measured: dict[str, Any]) -> list[Plot]:
    """All plots that the content of ``geometry.json`` allows.

    Args:
        measured: What :meth:`gradsift.geometry.Geometry.to_dict` gave, with ``along_training`` where it was measured.

    Returns:
        The plots.
    """
    collapse, curvature = measured["collapse"], measured["curvature"]
    plots = _of_layers(collapse["layers"])
    plots += [_spectrum(place, group, len(collapse["classes"])) for place, group in enumerate(curvature)]
    if curvature:
        plots.append(_alignment(curvature))
    along = measured.get("along_training")
    if along and along["steps"]:
        plots.append(_along_training(along))
    return plots


def _of_layers(layers: list[dict[str, Any]]) -> list[Plot]:
    names = [layer["name"] for layer in layers]

    def measures(shown: dict[str, str]) -> dict[str, Sequence[float | None]]:
        return {words: [layer[measure] for layer in layers] for words, measure in shown.items()}

    return [
        _plot(
            "collapse",
            "Collapse by layer",
            measures({"variability within classes (DNC1)": "variability"}),
            names,
            "What goes into each layer, in the order in which the layers run. Lower = a class is nearer to one point; a "
            "network that has memorised wrong labels has them there, too.",
        ),
        _plot(
            "figures",
            "Class means: distance from regular figures",
            measures(
                {
                    "orthogonal frame (DNC2)": "frame",
                    "simplex (DNC2)": "simplex",
                    "nearest mean is the prediction": "nearest_mean",
                    "nearest mean is the given label": "nearest_mean_given",
                }
            ),
            names,
            "Distances fall to zero in a collapsed network, shares of samples rise to one.",
            logarithmic=False,
        ),
    ]


def _alignment(curvature: list[dict[str, Any]]) -> Plot:
    shown = {"top K": "top_classes", "top K²": "top_squared", "K of a random direction": "chance"}
    return _plot(
        "alignment",
        "Share of the mean gradient in the leading eigenspaces",
        {words: [group["alignment"][share] for group in curvature] for words, share in shown.items()},
        [_group(group["spectrum"]["parameters"]) for group in curvature],
        "For each group of layers whose spectrum was taken.",
        logarithmic=False,
    )


def _along_training(along: dict[str, Any]) -> Plot:
    layers = list(along["layers"])
    places = sorted({round(place) for place in np.linspace(0, len(layers) - 1, min(MOST_SERIES, len(layers)))})
    return _plot(
        "along",
        "Collapse along training",
        {layers[place]: along["layers"][layers[place]]["variability"] for place in places},
        [f"{step:,}" for step in along["steps"]],
        "Variability within classes (DNC1) of what goes into each layer, by optimizer step. Gradients tell best "
        "before it falls steeply.",
    )


def _spectrum(place: int, entry: dict[str, Any], classes: int) -> Plot:
    spectrum = entry["spectrum"]
    values = np.array(spectrum["eigenvalues"])
    positive = np.maximum(values, values.max() * FLOOR)
    plot = _plot(
        f"spectrum-{place}",
        f"Largest eigenvalues of the {spectrum['matrix']} matrix, {_group(spectrum['parameters'])}",
        {"eigenvalue": positive.tolist()},
        [str(number + 1) for number in range(len(values))],
        f"{spectrum['outliers']} eigenvalues stand above the largest relative gap (orange), a factor of "
        f"{spectrum['gap']:.3g}; K = {classes} and K² = {classes**2} are where theory expects gaps. Mean loss of "
        f"{spectrum['samples']:,} samples, without weight decay.",
        marked=spectrum["outliers"],
        joined=False,
    )
    places = [x for x, _, _, _ in plot.series[0].dots]
    rules = [(places[k - 1] + (places[k] - places[k - 1]) / 2, name) for k, name in ((classes, "K"), (classes**2, "K²"))
             if k < len(places)]  # fmt: skip
    return Plot(plot.name, plot.title, plot.series, plot.across, plot.up, rules, plot.words)


def _plot(
    name: str,
    title: str,
    series: dict[str, Sequence[float | None]],
    labels: Sequence[str],
    words: str,
    *,
    logarithmic: bool = True,
    marked: int = 0,
    joined: bool = True,
) -> Plot:
    known = np.array([v for values in series.values() for v in values if v is not None and np.isfinite(v)] or [1.0])
    if logarithmic:
        least = max(float(known.max()) * FLOOR, float(known[known > 0].min(initial=1.0)), 1e-300)
        low, high = np.floor(np.log10(least)), np.ceil(np.log10(max(float(known.max()), least * 10)))
    else:
        low, high = 0.0, max(1.0, float(known.max()))

    def y_of(value: float) -> float:
        place = np.log10(max(value, 10.0**low)) if logarithmic else value
        return round(HEIGHT - 22 - (HEIGHT - 34) * float((place - low) / (high - low)), 1)

    def x_of(place: int) -> float:
        return round(MARGIN + (WIDTH - MARGIN - 14) * (place + 0.5) / len(labels), 1)

    drawn = [
        Series(
            title_of,
            [
                (x_of(place), y_of(value), f"{labels[place]}: {value:.4g}", place < marked)
                for place, value in enumerate(values)
                if value is not None and np.isfinite(value)
            ],
            joined and len(labels) > 1,
            number,
        )
        for number, (title_of, values) in enumerate(series.items())
    ]
    shown = sorted({round(place) for place in np.linspace(0, len(labels) - 1, min(8, len(labels)))})
    heights = np.unique(
        np.linspace(low, high, 5).round() if logarithmic and high - low > 3 else np.linspace(low, high, 5)
    )
    return Plot(
        name=name,
        title=title,
        series=drawn,
        across=[(x_of(place), _short(labels[place])) for place in shown],
        up=[(y_of(10.0**one if logarithmic else one), f"{10.0**one if logarithmic else one:.2g}") for one in heights],
        rules=[],
        words=words,
    )


def _group(parameters: Sequence[str]) -> str:
    return parameters[0] if len(parameters) == 1 else f"{parameters[0]} and {len(parameters) - 1} more"


def _short(label: str) -> str:
    return label if len(label) <= 14 else "…" + label[-13:]
