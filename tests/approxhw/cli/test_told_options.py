"""Options that would do nothing, or are for something else, are refused, and all that is wrong is told at once."""

from __future__ import annotations

import pytest

from approxhw.cli.main import COMMANDS


def refused(cli, *words):
    result = cli(*words)
    assert result.exit_code == 2, result.output
    return result.output + result.stderr


def test_options_that_passes_make_of_no_use_are_refused_all_at_once(cli, inputs):
    text = refused(
        cli,
        "compile",
        inputs / "tiny.onnx",
        "--passes",
        "fold-afine",
        "--weight-bits",
        "6",
        "--pipeline",
        "printed-po2",
    )
    assert "3 problems" in text
    for option in ("--weight-bits", "--pipeline"):
        assert f"{option}: does nothing beside --passes, which says every pass and its options" in text
    assert "do: write it into the list, such as quantize-weights{bits=6}, or leave --passes out" in text
    assert "fold-afine: there is no pass" in text


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("compile", "--target", "matrix-engine"), ("--normalization", "an-1-1", "--compress", "dynamic8,block=256")),
        (("search", "--data", "x.npz"), ("--input-bits", "3", "--widen", "2.5")),
    ],
)
def test_that_holds_for_engines_and_searches(words, options, cli, inputs):
    text = refused(cli, words[0], inputs / "tiny.onnx", *words[1:], "--passes", "narrow-formats", *options)
    for option in options[::2]:
        assert f"{option}: does nothing beside --passes" in text


def test_options_that_no_pass_is_made_of_stay(cli, inputs):
    quick = ("--no-simulate", "--no-estimate", "--registers", "--library", "egfet_0v6")
    passes = "printed-exact{low=0,high=1}"
    result = cli("compile", inputs / "tiny.onnx", "--passes", passes, *quick, "-o", "out")
    assert result.exit_code == 0, result.output + result.stderr


def test_pipelines_of_other_targets_are_not_offered(cli, inputs):
    (pipeline,) = [
        each.item for _, _, shared in COMMANDS["compile"].groups() for each in shared if each.item.name == "pipeline"
    ]
    assert "printed-exact" in pipeline.choices()
    assert "matrix-engine" not in pipeline.choices()
    text = refused(cli, "compile", inputs / "tiny.onnx", "--pipeline", "matrix-engine")
    assert "pipeline: 'matrix-engine' makes no circuit; there are printed-calibrated, printed-exact" in text


def test_a_check_says_that_it_is_one(cli, inputs):
    assert "check: 1 problem\n  shape: is for the open inputs" in refused(
        cli, "check", inputs / "tiny.onnx", "--shape", "x=1x3"
    )
    assert "check: 1 problem\n  --target: there is no target 'nope'" in refused(
        cli, "check", inputs / "tiny.onnx", "--target", "nope"
    )


def test_seeds_below_zero_are_refused(cli, made):
    assert "seed: -1 is no number of at least 0" in refused(cli, "simulate", made, "--seed", "-1")
