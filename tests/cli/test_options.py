"""One declaration is command line, ``config.yaml`` and API."""

import inspect
from dataclasses import MISSING, dataclass, fields

import pytest
import typer
from typer.testing import CliRunner

import gradsift
from gradsift import AuditSettings
from gradsift.cli.app import app
from gradsift.cli.options import Options, flag, with_options
from gradsift.cli.plan import OF_AUDIT_ALONE
from gradsift.cli.source import Source
from gradsift.engines.choose import EngineSettings
from gradsift.errors import SettingError
from gradsift.fields import setting, settings_of
from gradsift.ranges import whole

OF_THE_COMMAND = {
    "audit": {"output", "config", "overwrite", "trust_run", "trust", "fail_above", "as_json", "quiet"},
    "plan": {"workers", "price", "as_json", "quiet"},
}
"""Options that are no settings: they are not replayed."""
OF_THE_JOB = {"audit": [EngineSettings], "plan": []}
"""Settings of how the job is run."""


def parameters(command):
    return {parameter.name: parameter for parameter in typer.main.get_command(app).commands[command].params}


def names(kind):
    return {declared.name for declared, _ in settings_of(kind)}


def test_every_field_is_declared_as_a_setting():
    assert {field.name for field in fields(AuditSettings)} == names(AuditSettings)
    assert {field.name for field in fields(Source)} == names(Source) | {"trust"}


@pytest.mark.parametrize(("command", "without"), [("audit", ()), ("plan", OF_AUDIT_ALONE)])
def test_every_setting_has_a_flag_and_every_flag_a_setting(command, without):
    found = parameters(command)
    kinds = [AuditSettings, Source, *OF_THE_JOB[command]]
    settings = set().union(*map(names, kinds)) - set(without)
    assert found.keys() == settings | OF_THE_COMMAND[command]
    for declared, _ in [pair for kind in kinds for pair in settings_of(kind)]:
        if declared.name in settings:
            option = found[declared.name]
            assert option.opts == [flag(declared.name), *declared.metadata["flags"]]
            assert not option.secondary_opts
            assert option.default == (None if declared.default is MISSING else declared.default)
            assert option.rich_help_panel == declared.metadata["panel"]


def test_every_setting_is_a_parameter_of_the_api_with_the_same_default():
    api = inspect.signature(gradsift.audit).parameters
    for field in fields(AuditSettings):
        assert api[field.name].default == field.default


@dataclass(frozen=True)
class Recipe:
    flour: str = setting("What flour.", panel="A")
    eggs: int = setting("How many eggs.", 2, panel="B", number=whole(0, 9))


def run(arguments, *kinds, **choice):
    """What a command with these options is given."""
    seen = {}
    little = typer.Typer()

    @little.command()
    @with_options(*kinds, **choice)
    def command(options: Options, output: str = "x") -> None:
        """Cooks."""
        seen.update(options=options, output=output)

    outcome = CliRunner().invoke(little, [str(argument) for argument in arguments])
    return seen, outcome


def test_a_command_gets_its_own_options_and_those_of_its_settings():
    seen, _ = run(["--eggs", 3, "--flour", "rye", "--output", "y"], Recipe)
    assert seen["output"] == "y"
    assert seen["options"].make(Recipe) == Recipe("rye", 3)
    assert seen["options"].typed == ["--eggs", "--flour"]
    assert "Cooks." in run(["--help"], Recipe)[1].stdout


def test_what_is_needed_and_left_out_is_named():
    with pytest.raises(SettingError, match=r"--flour is missing: give it$"):
        run([], Recipe)[0]["options"].make(Recipe)


def test_a_command_may_take_some_of_the_settings():
    seen, _ = run(["--flour", "rye"], Recipe, only=["flour"])
    assert seen["options"].make(Recipe) == Recipe("rye", 2)
    assert run(["--eggs", 1], Recipe, without=["eggs"])[1].exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], AuditSettings()),
        (["--layers", "all"], AuditSettings(layers="all")),
        (["--layers", "head.*, 0.*"], AuditSettings(layers=("head.*", "0.*"))),
        (["--detectors", "l2"], AuditSettings(detectors=("l2",))),
        (["--detectors", "l2,l1"], AuditSettings(detectors=("l2", "l1"))),
        (["--contamination", "auto", "--batch-size", "auto"], AuditSettings()),
        (["--contamination", "0.1", "--batch-size", "8"], AuditSettings(contamination=0.1, batch_size=8)),
        (["--projection-kind", "gaussian", "--per-layer"],
         AuditSettings(projection_kind="gaussian", projection_per_layer=True)),
        (["--projection-per-layer", "--hold-classes"], AuditSettings(projection_per_layer=True, hold_classes=True)),
        (["--seed", "7", "--precision", "bfloat16"], AuditSettings(seed=7, precision="bfloat16")),
    ],
)  # fmt: skip
def test_the_command_line_makes_the_same_settings_as_the_api_and_the_file(arguments, settings):
    made = run(arguments, AuditSettings)[0]["options"].make(AuditSettings)
    assert made == settings == AuditSettings.from_dict(settings.to_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model is missing"),
        (["--model", "m:f", "--predictions", "p.npz"], "give one of them"),
        (["--model", "m:f", "--target", "half"], "target is response or whole, or left out; given 'half'"),
    ],
)
def test_sources_that_cannot_be(arguments, message):
    with pytest.raises(SettingError, match=message):
        run(["--data", "d.npz", *arguments], Source)[0]["options"].make(Source)
