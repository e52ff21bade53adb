"""Mean ranks of methods over regimes: Friedman's test, Nemenyi's critical difference, and their plot as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from scipy import stats

WIDTH, MARGIN, LINE, TOP = 1140, 400, 17, 60


@dataclass(frozen=True)
class Ranks:
    """Mean ranks, 1 = best.

    Attributes:
        mean: Method to its mean rank, best first.
        regimes: Over how many regimes.
        p_value: Of Friedman's test that all methods are alike.
        difference: Nemenyi's critical difference at 5 %: mean ranks that are closer are not told apart.
    """

    mean: dict[str, float]
    regimes: int
    p_value: float
    difference: float


def rank(values: Mapping[str, Sequence[float]]) -> Ranks:
    """Ranks methods within each regime and averages the ranks.

    Args:
        values: Method to one value a regime, high = best; at least three methods and two regimes.

    Returns:
        The ranks. Equal values share their mean rank.
    """
    names, table = list(values), np.array(list(values.values()), dtype=np.float64).T
    regimes, count = table.shape
    mean = stats.rankdata(-table, axis=1).mean(axis=0)
    order = np.argsort(mean, kind="stable")
    quantile = stats.studentized_range.ppf(0.95, count, np.inf) / np.sqrt(2)
    return Ranks(
        {names[place]: float(mean[place]) for place in order},
        regimes,
        float(stats.friedmanchisquare(*table.T).pvalue),
        float(quantile * np.sqrt(count * (count + 1) / (6 * regimes))),
    )


def groups(ranks: Ranks) -> list[tuple[float, float]]:
    """Largest stretches of mean ranks that lie within the critical difference.

    Args:
        ranks: The ranks.

    Returns:
        First and last mean rank of each stretch of two or more methods.
    """
    means = list(ranks.mean.values())
    stretches: list[tuple[float, float]] = []
    for first in means:
        last = max(one for one in means if one <= first + ranks.difference)
        if last > first and (not stretches or last > stretches[-1][1]):
            stretches.append((first, last))
    return stretches


def plot(ranks: Ranks, words: Mapping[str, str], title: str) -> str:
    """The critical-difference plot: mean ranks on an axis, best at the left; bars join what is not told apart.

    Args:
        ranks: The ranks.
        words: Method to its label.
        title: The title.

    Returns:
        An SVG document.
    """
    names, stretches = list(ranks.mean), groups(ranks)
    left = names[: (len(names) + 1) // 2]
    below = TOP + 14 + 9 * len(stretches)
    height = below + LINE * (len(left) + 1)

    def x_of(value: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (value - 1) / max(1, len(names) - 1), 1)

    def line(x1: float, y1: float, x2: float, y2: float, width: float = 1) -> str:
        return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-width="{width}"/>'

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'

    found = [text(WIDTH / 2, 18, title), line(x_of(1), TOP, x_of(len(names)), TOP)]
    for tick in range(1, len(names) + 1):
        found += [line(x_of(tick), TOP - 5, x_of(tick), TOP), text(x_of(tick), TOP - 9, str(tick))]
    end = x_of(1 + ranks.difference)
    found += [line(x_of(1), 30, end, 30, 2), text(end + 6, 34, f"critical difference {ranks.difference:.2f}", "start")]
    for place, (first, last) in enumerate(stretches):
        found.append(line(x_of(first) - 3, TOP + 9 + 9 * place, x_of(last) + 3, TOP + 9 + 9 * place, 4))
    for place, (name, mean) in enumerate(ranks.mean.items()):
        at_left = place < len(left)
        y = below + LINE * (place + 1 if at_left else len(names) - place)
        edge, label = (MARGIN - 8 if at_left else WIDTH - MARGIN + 8), f"{words[name]}  {mean:.2f}"
        found += [line(x_of(mean), TOP, x_of(mean), y - 4), line(edge, y - 4, x_of(mean), y - 4)]
        found.append(text(edge - 4 if at_left else edge + 4, y, label, "end" if at_left else "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#777" color="#777">\n' + "\n".join(found) + "\n</svg>\n"
    )
