"""``approxhw eight-bit-rtl`` and its page: what is written lints clean, what is wrong is told at once, examples run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from approxhw.backends.bespoke.readback import read_modules
from approxhw.cli.main import main
from approxhw.rtl_templates import template_names
from approxhw.sim import lint

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = CHECKOUT / "docs" / "eight-bit-rtl.md"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["eight-bit-rtl", *words], catch_exceptions=False)


@pytest.mark.parametrize(("words", "top", "latency"), [
    (["dynamic8"], "eight_bit_decode", None),
    (["static8", "--lanes", "4"], "eight_bit_decoder", 1),
    (["mantissa8", "--fixed", "12.11", "--maximum", "-3"], "eight_bit_decode_fixed", None),
    (["linear8", "--part", "encoder"], "eight_bit_encode", None),
    (["dynamic8", "--part", "encoder", "--fixed", "8.7"], "eight_bit_encode_fixed", None),
    (["dynamic8", "--part", "encoder", "--fixed", "8.7", "--lanes", "2"], "eight_bit_encoder", 1),
    (["static8,block=64", "--part", "normalizer"], "eight_bit_normalize", 3),
    (["mantissa8", "--part", "compressor", "--lanes", "8"], "eight_bit_compress", 4),
])  # fmt: skip
def test_every_part_is_written_and_clean(run, icarus, verilator, words, top, latency):
    result = run(*words, "-o", "build/part.v", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["top"], said["latency"], said["output"]) == (top, latency, "build/part.v")
    text = Path("build/part.v").read_text()
    assert text.startswith("// approxhw ")
    assert f"; top {top}\n" in text
    assert top in read_modules(text)
    lint(text, top)


def test_parameters_come_from_the_options(run):
    assert run("static8", "--fixed", "12.9", "--maximum", "-3", "-o", "a.v").exit_code == 0
    head = Path("a.v").read_text().partition("module eight_bit_decode_fixed #(")[2]
    found = dict(re.findall(r"parameter (\w+) += (-?\d+)", head))
    assert found == {"KIND": "1", "NORMALIZED": "0", "WIDTH": "12", "FRACTION": "9", "MAXIMUM": "-3"}
    assert run("mantissa8", "--part", "compressor", "--lanes", "8", "-o", "a.v").exit_code == 0  # over its own file
    head = Path("a.v").read_text().partition("module eight_bit_compress #(")[2]
    found = dict(re.findall(r"parameter (\w+) += (-?\d+)", head))
    assert found == {"KIND": "2", "BLOCK": "256", "LANES": "8", "PARALLEL": "3"}


def test_people_are_told_what_came_of_it(run):
    assert run("dynamic8", "--lanes", "4", "-o", "d.v").output == (
        "d.v: top eight_bit_decoder, results 1 clock after the row they come of\n"
    )
    assert run("dynamic8", "--part", "encoder", "-o", "d.v").output == "d.v: top eight_bit_encode, no clock\n"
    assert run("dynamic8", "--part", "compressor", "-o", "d.v").output == (
        "d.v: top eight_bit_compress, a block comes out 4 clocks after its last row is in\n"
    )


def test_all_problems_come_at_once(run):
    result = run("dynamic9", "--part", "decodr", "--fixed", "1.99", "--maximum", "3", "-o", "d.v")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: eight-bit-rtl: 5 problems\n"
        "  --part: there is no part 'decodr'; did you mean 'decoder'?\n"
        "    do: choose one of decoder, encoder, normalizer, compressor\n"
        "  FORMAT: 'dynamic9' spells none\n"
        "    do: one of dynamic8, static8, mantissa8, linear8, then ,block=N and ,max=exact or pow2\n"
        "  --fixed: 1 bits are not 2 to 32\n    do: choose another width\n"
        "  --fixed: 99 bits behind the point are not 0 to 31\n    do: choose another fraction\n"
        "  --maximum: it is for a decoder to fixed point; bfloat16 has a port for the exponent\n    do: leave it out\n"
    )
    result = run("dynamic8,block=64", "--part", "normalizer", "--lanes", "3", "--fixed", "12.11", "-o", "d.v")
    assert "  --fixed: a normalizer takes bfloat16 alone\n    do: leave it out\n" in result.stderr
    assert "  --lanes: 3 do not divide a block of 64\n" in result.stderr
    result = run("dynamic8", "--fixed", "8.7", "--maximum", "200", "--lanes", "-1", "-o", "d.v")
    assert "--lanes: -1 are not 1 to 1024" in result.stderr
    assert not Path("d.v").exists()


def test_foreign_files_stay(run):
    Path("mine.v").write_text("module mine; endmodule\n")
    result = run("dynamic8", "-o", "mine.v")
    assert result.exit_code != 0
    assert "mine.v: it is there already, and approxhw did not write it\n    do: choose another file" in result.stderr
    assert Path("mine.v").read_text() == "module mine; endmodule\n"
    Path("folder").mkdir()
    assert "did not write it" in run("dynamic8", "-o", "folder").stderr


def test_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["checked"] == 256


def test_templates_that_the_page_names_exist():
    named = set(re.findall(r"`(eight_bit_\w+)`", PAGE.read_text(encoding="utf-8"))) - {
        "eight_bit_rtl",
        "eight_bit_area",
    }
    assert named == {name for name in template_names() if name.startswith("eight_bit_")}
