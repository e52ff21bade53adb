"""``gradsift plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gradsift.cli.console import print_json, say
from gradsift.cli.options import JsonOption, Options, with_options
from gradsift.cli.source import Source
from gradsift.errors import SettingError
from gradsift.plan import Plan
from gradsift.plan import plan as predict
from gradsift.plan.workers import OnWorkers, on_workers
from gradsift.settings import AuditSettings

OF_AUDIT_ALONE = ("predictions", "out_of_fold", "trajectory", "groups", "test")
"""Settings of an audit that a plan does not read."""


@with_options(Source, AuditSettings, without=OF_AUDIT_ALONE)
def plan(
    options: Options,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Also forecast for this number of parts or Ray actors.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Price of one device for an hour, with --workers.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Predicts time, memory and disk of an audit from a few batches; nothing is left on disk.

    For example: **gradsift plan --model my.model:make --weights model.safetensors --data train.parquet --layers all**
    """
    model, loaded, task = options.make(Source).load()
    forecast = predict(model, loaded.dataset, task=task, settings=options.make(AuditSettings))
    if price is not None and workers is None:
        raise SettingError("--price is the price of one worker's device: give --workers, too")
    shared = None if workers is None else forecast_on(forecast, workers, price)
    if as_json:
        print_json(forecast.to_dict() | ({} if shared is None else {"on_workers": asdict(shared)}))
        return
    show(forecast)
    if shared is not None:
        show_workers(shared)


def forecast_on(forecast: Plan, workers: int, price: float | None) -> OnWorkers:
    """The forecast for a number of workers.

    Args:
        forecast: The one for one process.
        workers: How many.
        price: Of one device for an hour.

    Returns:
        The forecast.
    """
    stages = forecast.stages
    end = sum(seconds for stage, seconds in stages.items() if stage not in ("prepare", "gradients"))
    return on_workers(
        forecast.samples, workers, begin=stages["prepare"], passes=stages["gradients"], end=end, price=price
    )


def show_workers(shared: OnWorkers) -> None:
    """Prints a forecast for a number of workers.

    Args:
        shared: The forecast.
    """
    cost = "" if shared.cost is None else f", for {shared.cost:,.2f} at your price"
    say(
        f"On {shared.workers:,} workers as fast as this machine: about {_time(shared.seconds)}, {shared.device_hours:.3g} "
        f"device hours{cost}, with --shard-size {shared.shard_size}. Passes run in {shared.utilisation:.0%} of these "
        f"hours. {_paying(shared)}"
    )


def _paying(shared: OnWorkers) -> str:
    most = shared.paying_workers
    if most == 1:
        return "More than one worker spends over 5 % of its time in loading."
    return f"Up to {most:,} workers spend 95 % of their time in passes; on more, loading takes a larger share."


def show(forecast: Plan) -> None:
    """Prints a forecast for a person.

    Args:
        forecast: The forecast.
    """
    say(f"{forecast.samples:,} samples, batches of {forecast.batch_size}. Gradients: {forecast.coverage}.")
    stages = forecast.stages
    say(
        f"About {_time(forecast.seconds)}, {_range(forecast.seconds_low, forecast.seconds_high)}: "
        f"{_time(stages['prepare'])} to begin, {_time(stages['gradients'])} of gradients, "
        f"{_time(stages['scores'] + stages['report'])} of scores and page.",
        "bold",
    )
    on_device = forecast.device_memory_bytes
    disk = _size(forecast.disk_bytes + forecast.table_bytes)
    say(
        f"{_size(forecast.memory_bytes)} of memory beyond model and data set"
        + (f", {_size(on_device)} on the device" if on_device is not None else "")
        + f"; {disk} on disk, {_size(forecast.disk_bytes)} of it gradients."
    )
    say(f"Measured on {forecast.probed:,} of the samples.")


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 120:
        return 1, "seconds"
    return (60, "minutes") if seconds < 7200 else (3600, "hours")


def _number(value: float) -> str:
    """Two digits at least, none that says nothing."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _time(seconds: float) -> str:
    scale, unit = _unit(seconds)
    return f"{_number(seconds / scale)} {unit}"


def _range(low: float, high: float) -> str:
    scale, unit = _unit(high)
    return f"{_number(low / scale)} to {_number(high / scale)} {unit}"


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 10 * 2**30 else f"{count / 2**30:,.0f} GiB"
