"""Options by target: help shows the chosen target's first, the dataclass arrives whole, a new option is one field."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

import approxhw as ax
from approxhw.cli.main import COMMANDS
from approxhw.cli.parameters.command import Command
from approxhw.cli.parameters.kinds import CommandKind, Given, shared_options
from approxhw.cli.parameters.tables import option_tables
from approxhw.cli.targets.registry import kinds_of
from approxhw.cli.targets.shared import CompileOptions, TargetChoice
from approxhw.common.errors import OptionError
from approxhw.common.option_fields import nested, option, option_fields
from approxhw.numerics.mac.arithmetic import FloatMac


def headings(text: str) -> list[str]:
    """Return the headings of help."""
    return [line[:-1] for line in text.splitlines() if line and line[0] != " " and line.endswith(":")]


@pytest.mark.parametrize("command", ["compile", "search"])
@pytest.mark.parametrize("target", ["printed", "matrix-engine", "integer-engine"])
def test_help_shows_the_chosen_target_first(cli, command, target):
    """Then what it shares with another one, what others have, and what all have."""
    for line in (
        ["--target", target, "--help"],
        ["--help", f"--target={target}"],
        ["m.onnx", "--depth", "3", "--target", target, "-h"],
    ):
        found = headings(cli(command, *line).stdout)
        assert found[:2] == [f"Target {target}", "General options"]
        mine = [heading for heading in found if target in heading]
        assert found[2 : 1 + len(mine)] == mine[1:]
        assert found[-1] == "Other options"
        assert len(found) == len(set(found)) == {"compile": 8, "search": 7}[command]


@pytest.mark.parametrize("command", ["compile", "search"])
def test_help_without_a_target_that_is_one_is_that_of_printed_circuits(cli, command):
    plain = headings(cli(command, "--help").stdout)
    assert plain[:2] == ["Target printed", "General options"]
    for said in (["--target", "nonsense"], ["--target"]):
        told = cli(command, *said, "--help") if said != ["--target"] else cli(command, "--help", *said)
        if told.exit_code == 0:
            assert headings(told.stdout) == plain


def test_help_lists_what_an_option_may_be_for_any_target(cli):
    said = " ".join(cli("compile", "--help").stdout.split())
    assert "--ranges [mse|extremes|minmax|entropy]" in said
    assert "integer- engine: of a float model's activations: minmax, mse, entropy" in said


def test_help_of_commands_for_designs_is_grouped(cli):
    assert headings(cli("simulate", "-h").stdout) == [
        "General options", "Printed circuits", "Matrix engines and Integer engines", "Other options",
    ]  # fmt: skip
    assert headings(cli("estimate", "-h").stdout) == [
        "General options", "Printed circuits", "Verilog files", "Printed circuits and Verilog files", "Other options",
    ]  # fmt: skip


@pytest.mark.parametrize("target", [ax.Printed, ax.MatrixEngine, ax.IntegerEngine])
def test_every_field_of_a_target_that_has_help_is_an_option(target):
    names = {item.name for item in option_fields(target)}
    assert len(names) >= 10
    searched = {item.name for item in option_fields(target, without="compile_only")}
    assert searched < names
    for command, left in (("compile", set()), ("search", names - searched)):
        found = {each.item.name for _, _, members in COMMANDS[command].groups() for each in members}
        assert names - found == left


def test_an_option_that_two_targets_have_names_both_defaults(cli):
    words = " ".join(cli("compile", "-h").stdout.split())
    assert "[default: egfet; matrix-engine: sky130; integer-engine: sky130]" in words
    words = " ".join(cli("search", "-h").stdout.split()).replace("- ", "-")
    assert "[default: 5%; matrix-engine: 1%; integer-engine: 0.5%]" in words


@dataclass(frozen=True)
class Toy:
    """A further target."""

    mac: FloatMac = nested(FloatMac())
    colour: str = option("colour of the chip", "red", choices=("red", "green"))
    size: int = option("size of it", 3)


@dataclass(frozen=True)
class ToyOptions:
    """What ``compile`` takes for it."""

    source: TargetChoice = nested(TargetChoice())
    target: Toy = nested(Toy())


def test_a_further_target_is_a_dataclass_and_one_kind():
    made = []

    def build_toy(terminal, asked, own):
        made.append((asked, own))
        return {}

    def run(terminal, given):
        """Compile something."""
        return given.run(given.read(TargetChoice).target, terminal)

    kind = CommandKind("toy", "Target toy", ToyOptions, build_toy, is_for="is for --target toy")
    compiling = Command("compile", run, CompileOptions, lambda: [*kinds_of("compile"), kind], "target")
    command, invoke = compiling.click(), CliRunner().invoke
    told = invoke(command, ["--target", "toy", "--help"]).output
    assert headings(told)[0] == "Target toy"
    assert "--colour [red|green]  " in told
    assert "Target matrix-engine and Target toy" in headings(told)  # both have an arithmetic
    assert "| `--size` | 3 | size of it |" in option_tables(compiling)
    words = ["m.onnx", "--target", "toy", "--size", "5", "--accumulator-bits", "18", "--data", "d.npz", "-o", "out"]
    result = invoke(command, words)
    assert (result.exit_code, result.output) == (0, "")
    [(asked, own)] = made
    assert asked == CompileOptions(model=Path("m.onnx"), output=Path("out"))
    assert own.target == Toy(mac=FloatMac(accumulator_bits=18), size=5)
    assert own.source == TargetChoice(target="toy", data="d.npz")
    result = invoke(command, [*words, "--weight-bits", "3", "--normalization", "an-0-1"])
    assert result.exit_code == 2
    assert "compile: 2 problems" in result.output
    assert "--weight-bits: is for printed circuits" in result.output
    assert "normalization: 'an-0-1' is no normalization" in result.output
    assert "--colour: is for --target toy" in invoke(command, ["m.onnx", "--colour", "red"]).output


def test_everything_wrong_with_a_command_line_is_told_at_once(cli):
    said = cli("compile", "m.onnx", "--array", "4x4", "--result", "bf16", "--low", "a",
               "--passes", "fold-afine", "--high", "b").stderr  # fmt: skip
    assert said.startswith("error: compile: 7 problems\n")
    for line in (
        "--array: is for --target matrix-engine\n    do: leave it out",
        "--low: does nothing beside --passes",
        "--high: does nothing beside --passes",
        "--result: is for --target matrix-engine",
        "--low: 'a' is no finite number",
        "--high: 'b' is no finite number",
        "fold-afine: there is no pass or pipeline of this name; did you mean 'fold-affine'?",
    ):
        assert line in said
    words = [
        "--target",
        "matrix-engine",
        "--registers",
        "--array",
        "8y4",
        "--depth",
        "7",
        "--format",
        "bf61",
        "--shape",
        "x",
    ]
    said = cli("compile", "m.onnx", *words).stderr
    assert said.startswith("error: compile: 5 problems\n")
    for name in (
        "--registers: is for printed circuits",
        "--array: '8y4'",
        "depth",
        "format: 'bf61'",
        "'x' is no shape",
    ):
        assert name in said


def test_the_same_option_is_not_both_general_and_of_a_target():
    @dataclass(frozen=True)
    class Twice:
        output: int = option("another one", 1)

    kind = CommandKind("twice", "Twice", Twice, lambda *_: {}, is_for="")
    with pytest.raises(TypeError, match="twice has an option --output, which is a general one"):
        shared_options(CompileOptions, [kind])


def test_flags_that_are_on_are_turned_off_by_no():
    @dataclass(frozen=True)
    class Switch:
        light: bool = option("whether it is bright", True)
        dark: bool = option("whether it is dark", False)

    seen = []

    def run(terminal, options):
        """Switch."""
        seen.append(options)
        return {}

    command = Command("switch", run, Switch).click()
    for words in ([], ["--no-light"], ["--light", "--dark"]):
        assert CliRunner().invoke(command, words).exit_code == 0
    assert seen == [Switch(), Switch(light=False), Switch(dark=True)]


def test_help_of_the_program_loads_no_target():
    code = """
import sys
from approxhw.cli.main import main
main(["--help"], standalone_mode=False)
print(*sorted({name.split('.')[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "Commands:" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & {"numpy", "numba", "rich", "onnx", "amaranth", "deap", "jinja2"}


@dataclass(frozen=True)
class Priced:
    """What must be given as a share."""

    share: float = option("what of it", unit="share")


def test_a_glance_says_what_is_wrong_with_what_must_be_given():
    assert Given("try", Priced, {}, {"share": "5%"}).glance(Priced) == Priced(share=0.05)
    with pytest.raises(OptionError, match="'all' is no share from 0 to 1"):
        Given("try", Priced, {}, {"share": "all"}).glance(Priced)
