"""The page as text: everything on it, nothing from untrusted text but text, and commands where nothing ran yet."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from approxhw.common.errors import OutputError
from approxhw.report import Confusion, Cost, DrawnLayer, LayerCost, ReportData, Simulation, render, write_report


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; fails on tags that do not nest."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.values: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes[name] += 1
            self.values.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)


PLAIN = frozenset(
    {"charset", "class", "colspan", "content", "cx", "cy", "d", "height", "http-equiv", "id", "lang", "name"}
)
DRAWN = frozenset({"opacity", "r", "role", "stroke-width", "style", "viewbox", "width", "x", "y", "aria-label"})


def test_the_headline_figures_stand_in_the_units_of_the_field(realistic: ReportData) -> None:
    page = Page(render(realistic))
    for figure in ("95.4 %", "43.1 cm²", "4313 mm²", "151 mW", "67.4 ms", "9213", "✓ equal"):
        assert figure in page.text.replace("\u202f", " ").replace("  ", " "), figure


def test_every_part_of_a_full_report_is_there(realistic: ReportData) -> None:
    page = Page(render(realistic))
    for text in (
        "pendigits.onnx", "printed-exact", "16 inputs", "5 neurons", "10 neurons", "61 of 80",
        "96.0 %", "−0.6", "actual ↓ predicted →", "228",
        "By layer, from a second synthesis that keeps the hierarchy", "total with hierarchy",
        "flat, the headline figures", "45.1", "NAND2", "6120", "the design's 7494 training rows",
        "fold-affine", "quantize-weights", "bits=8",
        "25 weights became 0", "outputs equal on 10 992 rows",
        "data 3498, corners 64, random 1000", "x1 of the pen", "clip(floor((x - 0.0)",
        "12 of 55 968 test readings", "✗ a class is lost behind the mean", "class 8 −7.6 points of 750 rows", "before ↓ after →",
        "of 64 by quarters of each of 16 features", "y3 of the pen: above 71", "Each layer alone",
        "no training row is of class 11", "simulate icarus", "8.44 s", *realistic.commands,
    ):  # fmt: skip
        assert text in page.text, text
    assert "not run yet" not in page.text


def test_all_neurons_and_all_nonzero_weights_are_drawn(realistic: ReportData) -> None:
    page = Page(render(realistic))
    assert page.tags["circle"] == 16 + 5 + 10
    assert page.tags["path"] == sum(layer.nonzero for layer in realistic.layers) > 0


def test_sections_without_data_say_which_command_fills_them(empty: ReportData) -> None:
    page = Page(render(empty))
    for section in ("Network", "Accuracy", "Safety", "Area and power", "Simulation", "Ports", "Passes", "Reproduce"):
        assert section in page.text
    assert "not run yet: approxhw simulate build/iris" in page.text
    assert "not run yet: approxhw estimate build/iris" in page.text
    assert page.text.count("not run yet: approxhw compile MODEL") == 7
    assert "not simulated yet" in page.text


def test_hostile_text_stays_text(hostile: ReportData) -> None:
    page = Page(render(hostile))
    assert page.tags["script"] == page.tags["img"] == page.tags["link"] == page.tags["iframe"] == 0
    assert set(page.attributes) <= PLAIN | DRAWN, set(page.attributes) - PLAIN - DRAWN
    assert "<script>document.title=" in page.text, "it is shown as it was written"
    assert "{{ 7*7 }}" in page.text, "and is no template"


def test_every_text_field_is_hostile_in_that_test(hostile: ReportData) -> None:
    texts = [f.name for f in fields(ReportData) if isinstance(getattr(hostile, f.name), str)]
    assert texts == ["title", "model", "pipeline", "version", "folder", "measure"]
    assert all("<script>" in getattr(hostile, name) for name in texts)


def test_long_names_are_cut_and_unprintable_characters_replaced(hostile: ReportData, realistic: ReportData) -> None:
    text = render(hostile)
    assert len(text) < len(render(realistic)) + 60_000, "about two hundred texts of 10 000 characters were given"
    assert "long_name_" * 151 not in text
    assert "\u202e" not in text
    assert "\0" not in text
    assert "\N{REPLACEMENT CHARACTER} lone surro" in text
    text.encode("utf-8")


def test_the_page_needs_nothing_from_outside(realistic: ReportData) -> None:
    text = render(realistic)
    page = Page(text)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page.values
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert not {"src", "href", "srcset", "action"} & set(page.attributes)


def test_mismatches_are_loud(realistic: ReportData) -> None:
    runs = (Simulation("icarus", 100, 7, mismatch_file="build/x/mismatch.json"), Simulation("verilator", 0, 0))
    page = Page(render(replace(realistic, simulations=runs)))
    assert "✗ 7 differ" in page.text
    assert "✗ 7 of 100 differ" in page.text
    assert "build/x/mismatch.json" in page.text
    assert "✗ no vector ran" in page.text
    assert "✓ equal" not in page.text


def test_a_simulation_without_vectors_is_no_success(realistic: ReportData) -> None:
    page = Page(render(replace(realistic, simulations=(Simulation("icarus", 0, 0),))))
    assert "nothing ran" in page.text
    assert "✓ equal" not in page.text


def test_a_tall_layer_is_abbreviated_and_says_so() -> None:
    weights = tuple(tuple(1 + (i + o) % 3 for i in range(73)) for o in range(2))
    layer = DrawnLayer("layer0", "dense", 73, 2, 146, 8, 12, weights=weights)
    page = Page(render(ReportData("t", "m", "p", "v", layers=(layer,))))
    assert "… 58 more" in page.text
    assert page.tags["circle"] == 15 + 2
    assert "30 of 146 non-zero weights are shown" in page.text


def test_many_classes_become_a_list_of_the_greatest_confusions() -> None:
    counts = [[0] * 40 for _ in range(40)]
    counts[3][17], counts[5][6] = 9, 2
    labels = tuple(f"species {i}" for i in range(40))
    page = Page(render(ReportData("t", "m", "p", "v", labels=labels, confusion=Confusion(tuple(map(tuple, counts))))))
    assert "species 3 species 17 9 species 5 species 6 2" in page.text
    assert "The 2 most frequent of 40 classes' confusions" in page.text


def test_labels_missing_or_too_few_fall_back_to_indices() -> None:
    page = Page(render(ReportData("t", "m", "p", "v", labels=("yes",), confusion=Confusion(((5, 1), (0, 7))))))
    assert "yes 1 yes 5 1 1 0 7" in page.text


def test_silicon_is_shown_in_its_own_units() -> None:
    cost = Cost("sky130", 0.0123, 0.0042, 1.7e-5, 812, by_layer=(LayerCost("layer0", 0.011, 0.004, 700),))
    text = Page(render(ReportData("t", "m", "p", "v", cost=cost))).text.replace("\u202f", " ").replace("  ", " ")
    assert "12 300 µm²" in text
    assert "4.20 µW" in text
    assert "17.0 ns" in text
    assert "Area, µm²" in text


def test_a_cost_of_nothing_and_figures_that_are_no_numbers_render() -> None:
    cost = Cost("egfet", 0.0, math.nan, math.inf, 0, by_layer=(LayerCost("layer0", 0.0, None, None),))
    text = Page(render(ReportData("t", "m", "p", "v", cost=cost))).text
    assert "nan" not in text.split()
    assert "inf" not in text.split()


def test_the_file_is_whole_or_not_there(tmp_path: Path, realistic: ReportData) -> None:
    target = tmp_path / "report.html"
    write_report(target, realistic)
    assert target.read_text(encoding="utf-8") == render(realistic)
    write_report(target, replace(realistic, title="second"))
    assert "second" in target.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path, realistic: ReportData) -> None:
    with pytest.raises(OutputError) as caught:
        write_report(tmp_path / "absent" / "report.html", realistic)
    assert "absent/report.html: the report cannot be written (No such file or directory)" in str(caught.value)
    assert "do: name a folder that exists and has room" in str(caught.value)


def test_a_failed_rename_leaves_nothing_behind(tmp_path: Path, realistic: ReportData) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_report(tmp_path / "report.html", realistic)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
