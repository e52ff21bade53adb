"""``--fail-above``: an exit code for the continuous integration of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gradsift.cli.commands import ABOVE
from gradsift.errors import SettingError
from gradsift.table import AuditedRun

FailAboveOption = Annotated[
    str | None,
    typer.Option(
        "--fail-above",
        help=f"Exit with code {ABOVE} where the estimated share of wrong labels, or the flagged share where none can be "
        "estimated, is larger: 5% or 0.05.",
    ),
]


@dataclass(frozen=True)
class Verdict:
    """How a share compares with the limit that a user has set.

    Attributes:
        share: The share that was found, in [0, 1].
        low: Lower end of its interval.
        high: Upper end.
        of_wrong_labels: Whether it is the estimated share of wrong labels; the flagged share otherwise.
        limit: The limit; ``None`` where none was set.
    """

    share: float
    low: float
    high: float
    of_wrong_labels: bool
    limit: float | None

    @classmethod
    def of(cls, audit: AuditedRun, limit: float | None) -> Verdict:
        """Reads the share off an audit.

        Args:
            audit: The audit.
            limit: The limit.

        Returns:
            The verdict.

        Raises:
            SettingError: There is a limit, and the share was given to the audit, so it says nothing of the data.
        """
        details = audit.details
        wrong = details.get("wrong_labels")
        if wrong is None and limit is not None and given_share(audit.run.config.get("settings", {})):
            raise SettingError(
                "--fail-above judges an estimated share, and the share of this run was fixed by --contamination: "
                "audit with --contamination auto"
            )
        if wrong is not None:
            return cls(wrong["share"], wrong["low"], wrong["high"], True, limit)
        flagged = len(audit.flagged_positions) / len(audit)
        cut = details.get("contamination", {})
        return cls(flagged, cut.get("low", flagged), cut.get("high", flagged), False, limit)

    @property
    def failed(self) -> bool:
        """Whether the share lies above the limit."""
        return self.limit is not None and self.share > self.limit

    def sentence(self) -> str:
        """The verdict in words; empty where no limit was set."""
        if self.limit is None:
            return ""
        what = "of the labels are probably wrong" if self.of_wrong_labels else "of the samples are flagged"
        place = "above" if self.failed else "within"
        return (
            f"{'Failed' if self.failed else 'Passed'}: {100 * self.share:.2f} % {what} ({100 * self.low:.2f} to "
            f"{100 * self.high:.2f} %), {place} the limit of {100 * self.limit:g} %."
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        wrong = {"share": self.share, "low": self.low, "high": self.high} if self.of_wrong_labels else None
        return {"wrong_labels": wrong, "fail_above": self.limit, "failed": self.failed}


def given_share(settings: dict[str, Any]) -> bool:
    """Whether an audit is told how many samples to flag.

    Args:
        settings: Its settings.

    Returns:
        True where ``contamination`` is a number.
    """
    return settings.get("contamination", "auto") != "auto"


def read_limit(text: str | None) -> float | None:
    """A share as it stands on the command line.

    Args:
        text: ``5%`` or ``0.05``.

    Returns:
        The share, in [0, 1).

    Raises:
        SettingError: It is no share.
    """
    if text is None:
        return None
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if number != text.strip() else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise SettingError(f"--fail-above is a share below 100 %; given {text!r} (for 5 % write 5% or 0.05)")
    return share
