"""``gradsift influence``."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
import yaml

from gradsift.cli.audited import Audited, open_audited
from gradsift.cli.console import print_json, print_table, say
from gradsift.cli.options import PLACE, JsonOption, Options, patterns, with_options
from gradsift.cli.trust import Trust, TrustOption, TrustRunOption
from gradsift.data.files import load_column
from gradsift.detectors import influence_scores
from gradsift.errors import SettingError
from gradsift.influence import (
    METHODS,
    Adversarial,
    DemographicParity,
    EqualOpportunity,
    SampleGradients,
    Target,
    Utility,
    get_method,
)
from gradsift.locations import Location, as_location, refuse_unwritable
from gradsift.result import Audit
from gradsift.settings import AuditSettings
from gradsift.stages import rescore
from gradsift.store.tables import is_influence_table, write_table
from gradsift.writing import refuse_if_taken, reserved

OBJECTIVES = ("utility", "equal_opportunity", "demographic_parity", "adversarial")


@with_options(AuditSettings, only=["contamination"])
def influence(
    run: Annotated[
        str, typer.Argument(metavar=PLACE, help="Run directory of an audit; names model, data, task and layers.")
    ],
    options: Options,
    target: Annotated[
        str | None,
        typer.Option(
            metavar=PLACE,
            help="Target set, of the same layout as the training set: clean validation data, not the test set.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help=f"{', '.join(METHODS)}, or module:Class."),
    ] = "inner_product",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the method, such as damping=0.01; may be repeated.")
    ] = None,
    self_influence: Annotated[
        bool, typer.Option("--self", help="Influence of every sample on its own loss; needs no target.")
    ] = False,
    objective: Annotated[
        str,
        typer.Option(
            help="What of the target set is to become smaller: utility (mean loss), equal_opportunity, "
            "demographic_parity (need --groups), adversarial."
        ),
    ] = "utility",
    groups: Annotated[str | None, typer.Option(help="Column of the target file with group attributes.")] = None,
    attack: Annotated[str, typer.Option(help="Of the objective adversarial: linear, fgsm or pgd.")] = "fgsm",
    each: Annotated[
        bool, typer.Option("--each", help="Adds a column with the influence on each target sample.")
    ] = False,
    layers: Annotated[
        str | None, typer.Option(help="`last`, `all`, or glob patterns with commas; those of the run where left out.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar=PLACE, help="Table to write; influence.parquet of the run.")
    ] = None,
    trust_run: TrustRunOption = False,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Says which training samples help or harm a target; writes a table for trim and verify.

    On a clean validation set: **gradsift influence runs/x --target validation.parquet**; with **--trust-run** where the
    model is code of yours.

    Then: **gradsift trim runs/x --table runs/x/influence.parquet -o clean.parquet**

    Toward fairness: **gradsift influence runs/x --target validation.csv --objective equal_opportunity --groups sex**
    """
    if (target is None) == (not self_influence):
        raise SettingError(
            "give --target FILE, or --self for the influence of samples on their own loss; one of the two"
        )
    place = as_location(run)
    path = as_location(output) if output else place / "influence.parquet"
    refuse_unwritable(path)
    refuse_if_taken(path, is_influence_table)  # before work is wasted
    share = options.make(AuditSettings).contamination
    asking = get_method(method, _settings(setting or []))
    opened = open_audited(run, Trust.given(place / "config.yaml", trust_run, trust))
    with reserved(path):
        audit = opened.audit
        asked = _target(opened, target, objective, groups, attack) if target is not None else None
        own = AuditSettings.from_dict(audit.run.config["settings"])
        chosen = own.layers if layers is None else patterns(layers)
        stored = chosen == "last" and "residual" in audit.run.stored()
        gradients = SampleGradients(
            opened.model,
            opened.loaded.dataset,
            task=opened.task,
            layers=chosen,
            batch_size=own.batch_size,
            precision=own.precision,
            run=audit.run if stored and own.layers == "last" else None,
        )
        fitted = asking.fit_gradients(gradients)
        if asked is None:
            scores = values = fitted.self_influence()
            name = f"self_influence_{method.replace(':', '.')}"
        else:
            values = fitted.influence(asked)
            name = f"influence_{method.replace(':', '.')}"
            scores = influence_scores(values, method)
        result = rescore(audit, scores, name, contamination=share)
        table = result.table.append_column("influence", pa.array(values))
        if each and asked is not None:
            table = table.append_column("influence_each", pa.array(list(fitted.influence(asked, each=True))))
        write_table(table, path, replaces=is_influence_table)
        _show(result.with_table(table), fitted.report_, path, as_json)


def _target(opened: Audited, path: str, objective: str, groups: str | None, attack: str) -> Target:
    if objective not in OBJECTIVES:
        raise SettingError(f"unknown objective {objective!r}: choose among {', '.join(OBJECTIVES)}")
    fair = objective in ("equal_opportunity", "demographic_parity")
    if fair != (groups is not None):
        raise SettingError("--groups COLUMN goes with the objectives equal_opportunity and demographic_parity")
    source, loaded = opened.source, opened.loaded
    target_set: Any = source.load_data(path, like=loaded, pretrained=opened.pretrained).dataset
    if objective == "utility":
        return Utility(target_set)
    if objective == "adversarial":
        return Adversarial(target_set, attack=attack)  # type: ignore[arg-type]  # the target checks it
    members = load_column(path, str(groups))
    return (EqualOpportunity if objective == "equal_opportunity" else DemographicParity)(target_set, members)


def _settings(texts: list[str]) -> dict[str, Any]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set takes name=value, such as damping=0.01; given {text!r}")
        try:
            settings[name.replace("-", "_")] = yaml.safe_load(value)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise SettingError(f"--set {name}={value} holds no value that YAML can read") from error
    return settings


def _show(result: Audit, report: dict[str, Any], path: Location, as_json: bool) -> None:
    influence = result.table["influence"].to_numpy()
    order = np.argsort(influence, kind="stable")
    ends = {"most harmful": order[:5], "most helpful": order[::-1][:5]}
    if as_json:
        rows = result.table.select(["position", "id", "influence", "score", "reason"])
        content = {name: rows.take(places).to_pylist() for name, places in ends.items()}
        counted = {"samples": len(result), "flagged": len(result.flagged_positions), "method": result.detector}
        print_json(counted | {"report": _plain(report)} | content | {"table": str(path)})
        return
    for name, places in ends.items():
        rows = result.table.select(["position", "id", "given_label", "influence"]).take(places).to_pylist()
        print_table(
            [{key: f"{v:.4g}" if key == "influence" else str(v) for key, v in row.items()} for row in rows], name
        )
    say(result.summary(), "bold")
    say(f"Table: {path}")


def _plain(value: Any) -> Any:
    """Numbers of numpy and of torch as JSON has them."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value
