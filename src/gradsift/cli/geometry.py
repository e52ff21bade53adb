"""``gradsift geometry``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gradsift.cli.audited import open_audited
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.options import PLACE, JsonOption, patterns
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.errors import SettingError
from gradsift.evaluation import Verification
from gradsift.geometry import examine
from gradsift.locations import as_location, refuse_unwritable
from gradsift.report import write_report


def geometry(
    run: Annotated[str, typer.Argument(metavar=PLACE, help="Run directory of an audit; names model, data and task.")],
    layers: Annotated[
        str, typer.Option(help="Whose collapse: `all`, `last`, or glob patterns over modules, with commas.")
    ] = "all",
    curvature: Annotated[
        str | None,
        typer.Option(
            help="Whose spectrum: `last`, `all`, or glob patterns; groups with a semicolon. None where left out."
        ),
    ] = None,
    matrix: Annotated[str, typer.Option(help="gauss-newton or hessian.")] = "gauss-newton",
    max_samples: Annotated[int, typer.Option(min=1, help="Samples of the spectra.")] = 1000,
    pooling: Annotated[str, typer.Option(help="Positions of images and tokens: mean or flatten.")] = "mean",
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measures whether gradients of this network can tell wrong labels; adds collapse and spectra to the report.

    For example: **gradsift geometry runs/x --curvature last**; with **--trust-run** where the model is code of yours.
    """
    if pooling not in ("mean", "flatten"):
        raise SettingError(f"--pooling is mean or flatten; given {pooling!r}")
    refuse_unwritable(as_location(run))
    opened = open_audited(run, Trust.given(as_location(run) / "config.yaml", trust_run, trust))
    audit = opened.audit
    examination = examine(
        opened.model,
        opened.loaded.dataset,
        task=opened.task,
        layers=patterns(layers),
        curvature_of=[patterns(group) for group in curvature.split(";")] if curvature else (),
        matrix=matrix,  # type: ignore[arg-type]  # the operator checks it
        max_samples=max_samples,
        pooling=pooling,  # type: ignore[arg-type]  # checked above
    )
    content = json.loads(json.dumps(examination.to_dict()))
    audit.run.write_json("geometry.json", content)
    verified = audit.run.path / "verify.json"
    verification = Verification.from_dict(audit.run.read_json("verify.json")) if verified.exists() else None
    write_report(audit, audit.run.path / "report.html", opened.loaded.dataset, verification)
    if as_json:
        print_json(content)
        return
    rows = [
        {
            "layer": layer.name,
            "DNC1": f"{layer.variability:.3g}",
            "DNC2 frame": f"{layer.frame:.3f}",
            "DNC2 simplex": f"{layer.simplex:.3f}",
            "nearest mean: prediction": f"{100 * layer.nearest_mean:.1f} %",
            "given label": f"{100 * layer.nearest_mean_given:.1f} %",
        }
        for layer in examination.collapse.layers
    ]
    print_table(rows, "What goes into each layer")
    for sentence in examination.sentences:
        say(sentence, "bold")
    say(f"Report: {audit.run.path / 'report.html'}")
