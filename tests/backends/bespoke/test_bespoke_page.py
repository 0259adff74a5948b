"""docs/bespoke.md says what is so: its examples are run, its figures are what they print, what it names exists."""

import doctest
import re
from pathlib import Path

from approxhw.rtl_templates import template_names

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = CHECKOUT / "docs" / "bespoke.md"


def test_examples_print_what_the_page_says():
    test = doctest.DocTestParser().get_doctest(PAGE.read_text(encoding="utf-8"), {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 10
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, "".join(said)


def test_templates_and_files_that_it_names_exist():
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text))
    assert {"mask_bits", "any_bit", "saturate_bits", "greater_than", "choose", "ripple_carry"} <= named
    for name in ("half_adders_plus_one", "mask_bits", "any_bit", "saturate_bits", "greater_than", "choose"):
        assert name in template_names()
    for file in re.findall(r"\b(\w+\.py)\b", text):
        assert any(list((CHECKOUT / top).rglob(file)) for top in ("approxhw", "backends", "benchmarks", "tests")), file
