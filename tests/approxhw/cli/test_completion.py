"""What Tab completes: commands, options, and what an option may be; the shells' scripts."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from approxhw.cli.main import COMMANDS, main


def completed(*words: str) -> list[str]:
    """Return what Tab offers for the last of *words*."""
    complete = ShellComplete(main, {}, "approxhw", "_APPROXHW_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_commands_complete():
    assert completed("") == sorted(COMMANDS)
    assert completed("com") == ["compile", "compress"]
    assert "--show-completion" in completed("--s")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["compile", "m.onnx", "--target", ""], ["printed", "matrix-engine", "integer-engine"]),
        (["compile", "m.onnx", "--target", "m"], ["matrix-engine"]),
        (["compile", "--ranges", ""], ["mse", "extremes", "minmax", "entropy"]),
        (["compile", "--pipeline", "printed-h"], ["printed-holistic"]),
        (["compile", "--library", ""], ["egfet", "egfet_0v6", "sky130"]),
        (["compile", "--format", "e"], ["e4m3", "e5m2"]),
        (["compile", "--pick", "c"], ["chosen", "cheapest"]),
        (["search", "m.onnx", "--objective", ""], ["area", "energy"]),
        (["simulate", "d", "--simulator", "v"], ["verilator"]),
        (["estimate", "d", "--recipe", ""], ["reference", "smallest", "timed"]),
        (["eight-bit-rtl", "d"], ["dynamic8"]),
        (["eight-bit-rtl", "dynamic8", "--part", ""], ["decoder", "encoder", "normalizer", "compressor"]),
        (["compress", "m.onnx", "--format", "l"], ["linear8"]),
        (["link-model", "--parallel", ""], ["data", "model"]),
        (["fuzz", "--simulator", "i"], ["icarus"]),
        (["compile", "--weight-"], ["--weight-bits"]),
        (["search", "--max-a"], ["--max-accuracy-loss"]),
    ],
)
def test_options_and_choices_complete(words, offered):
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(cli, shell):
    result = cli("--show-completion", shell)
    assert result.exit_code == 0
    assert f"_APPROXHW_COMPLETE={shell}_complete" in result.stdout
