"""Figures in README and docs: where a paragraph names a page of results, each of its figures stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from statistics import median

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
RESULTS = CHECKOUT / "benchmarks" / "results"
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md")), CHECKOUT / "benchmarks" / "README.md"]
FIGURE = re.compile(r"(?<![\w.,-])[−-]?(\d[\d ]*\.\d+|\d+(?= ?%))(?![\w.])")
"""Decimals, and whole numbers of per cent: what is measured. Names of files and parameters in code are left out."""


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield paragraphs with their line numbers; a table belongs to the paragraph in front of it, code is left out."""
    text = re.sub(r"```.*?```", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    line, held = 1, None
    for part in re.split(r"(\n{2,})", text):
        if part.strip():
            if part.startswith("|") and held is not None:
                held = (held[0], f"{held[1]}\n{part}")
            else:
                if held is not None:
                    yield held
                held = (line, part)
        line += part.count("\n")
    if held is not None:
        yield held


def told(block: str) -> Iterator[str]:
    """Yield the rows of a table that name a source of their own, one by one, and what is left of *block* as a whole."""
    rest = []
    for line in block.splitlines():
        if line.startswith("|") and sources(line):
            yield line
        else:
            rest.append(line)
    yield "\n".join(rest)


def sources(block: str) -> set[Path]:
    """Return the pages of results that *block* names, by themselves or by the command that makes them."""
    pages = {RESULTS / f"{name}.md" for name in re.findall(r"results/(\w+)\.md", block)}
    for script in re.findall(r"benchmarks/(\w+)\.py", block):
        pages |= set(RESULTS.glob(f"{script}*.md"))
    return {page for page in pages if page.is_file()}


@cache
def figures(page: Path) -> frozenset[Decimal]:
    """Return every number on *page*, without its sign: a text may turn it around (``19 % less``)."""
    found = re.findall(r"(?<![\w.])\d[\d ]*(?:\.\d+)?(?![\w.]*\d)", page.read_text(encoding="utf-8"))
    return frozenset(Decimal(number.replace(" ", "")) for number in found)


def stands(figure: str, known: frozenset[Decimal]) -> bool:
    """Whether *figure* is one of *known*, rounded as it is written; per cent may be a share of 1 there, and the other way."""
    said = Decimal(figure.replace(" ", ""))
    unit = Decimal(1).scaleb(-max(0, -int(said.as_tuple().exponent)))
    scaled = (number * factor for number in known for factor in (1, 100, Decimal("0.01")))
    return any(said in (n.quantize(unit, ROUND_HALF_EVEN), n.quantize(unit, ROUND_HALF_UP)) for n in scaled)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_that_name_their_source_stand_there(page: Path) -> None:
    wrong = []
    for line, block in blocks(page.read_text(encoding="utf-8")):
        for part in told(block):
            if not (pages := sources(part)):
                continue
            known = frozenset().union(*(figures(source) for source in pages))
            words = re.sub(r"`[^`]*`|\([^)]*\.(md|json)\)", "", part)
            if missing := [found[1] for found in FIGURE.finditer(words) if not stands(found[1], known)]:
                names = ", ".join(sorted(source.name for source in pages))
                wrong.append(f"line {line}: {', '.join(missing)} not in {names}")
    assert not wrong, "\n".join([f"{page.name} quotes figures that its source does not hold:", *wrong])


def test_most_figures_of_the_readme_have_a_source() -> None:
    counted = [
        len(FIGURE.findall(block)) for _, block in blocks(PAGES[0].read_text(encoding="utf-8")) if sources(block)
    ]
    assert sum(counted) > 50


@pytest.mark.parametrize(
    ("figure", "holds"), [("4.9", True), ("4.89", True), ("4.88", False), ("7.67", False), ("0.5", True), ("12", True)]
)
def test_a_figure_is_compared_as_it_is_written(figure: str, holds: bool) -> None:
    assert stands(figure, frozenset(map(Decimal, ("4.89", "0.4951", "0.12")))) is holds


# What figures are quoted, and beside which others ---------------------------------------------------------------------------

ENGINE = "float-mac<bf16,"


def rows_of(page: Path, first: str) -> dict[str, list[str]]:
    """Return the cells of every row of a table on *page* whose first cell begins with *first*, by that cell."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {first}")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_areas_of_searches_are_medians_of_the_seeds_that_held_the_accuracy() -> None:
    """Each table tells how many held it, and its median is that of their areas."""
    tables = (RESULTS / "printed_search.md").read_text(encoding="utf-8").split("\n## ")[1:]
    tables = [text for text in tables if "| seeds that held it |" in text]
    seen = 0
    for text in tables:
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) != 10 or not re.fullmatch(r"[\d.]+", cells[1]):
                continue
            asked, told, held = float(cells[1]), cells[3], cells[5]
            areas = [float(a) for a, t in zip(cells[8].split(), cells[6].split()) if float(t) >= asked - 5e-5]
            assert held == f"{len(areas)} of {len(cells[8].split())}", line
            assert told == "none held it" if not areas else float(told) == pytest.approx(median(areas), rel=1e-3), line
            seen += 1
    assert len(tables) >= 2
    assert seen == 5 * len(tables)
    assert PAGES[0].read_text(encoding="utf-8").count("| seeds that held it ") == 2


def test_a_task_tells_normalizations_apart() -> None:
    rows = rows_of(RESULTS / "engine_accuracy.md", ENGINE)
    narrow = {name.rpartition(",")[2]: cells for name, cells in rows.items() if name.startswith(f"{ENGINE}16,")}
    lost = [abs(float(a) - float(b)) for a, b in zip(narrow["exact>"], narrow["an-2-2>"])]
    assert max(lost) > 5, "points"


def test_the_mean_of_all_clocks_stands_in_front_of_what_is_saved_at_the_tightest() -> None:
    lines = (RESULTS / "element_area.md").read_text(encoding="utf-8").splitlines()
    means = [line.split("|") for line in lines if line.startswith("| an-1-2, W = 20;") and "| mean of 8 |" in line]
    docs = (CHECKOUT / "docs" / "matrix-engine-rtl.md").read_text(encoding="utf-8").splitlines()
    (at,) = [number for number, line in enumerate(docs) if line.startswith("| cells | fastest exact |")]
    assert docs[at].split("|")[3:5] == [" mean of all clocks ", " shortest clocks "]
    assert len(means) == 2
    for line, mean in zip(docs[at + 2 : at + 4], means):
        assert line.split("|")[1].strip() in mean[1]
        assert re.findall(r"[\d.]+", line.split("|")[3]) == [mean[3].strip(" -%"), mean[5].strip(" -%")]


def test_what_is_there_is_not_said_to_come() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"8-bit codes are what comes next|are to come|is to come|coming soon", text), page.name


def test_exact_circuits_and_calibrated_ones_stand_side_by_side() -> None:
    page = (RESULTS / "exact_circuits.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| `(printed-\w+)` \|", page, flags=re.MULTILINE)
    tasks = {task for task, _ in rows}
    assert len(tasks) == 5
    for task in tasks:  # accuracies, then areas
        assert [pipeline for name, pipeline in rows if name == task] == ["printed-exact", "printed-calibrated"] * 2
    table = re.search(r"^\| task .*published exact.*$", PAGES[0].read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert table is not None
    assert table[0].index("`printed-exact`: accuracy") < table[0].index("`printed-calibrated`: accuracy")
