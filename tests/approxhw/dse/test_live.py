"""What people see of a search: a live table on a terminal, lines elsewhere, nothing at all for machines."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from approxhw.cli.terminal.search_view import SearchView, show_front
from approxhw.cli.terminal.terminal import Terminal

ABOUT = {"rows": 200, "validation": 50, "genes": 321, "onnx": 0.951}


def record(generation: int, area: float | None = 120.0) -> SimpleNamespace:
    return SimpleNamespace(
        generation=generation,
        generations=40,
        evaluations=1000 * (generation + 1),
        evaluations_per_second=12345.6,
        least_errors=21,
        least_cost=area,
        front_size=17,
    )


@pytest.fixture
def terminal():
    """A terminal whose both consoles write to texts: ``.shown`` of a console that takes itself for a terminal or not."""

    def make(is_terminal: bool, quiet: bool = False) -> Terminal:
        made = Terminal(quiet)
        for name in ("out", "err"):
            console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200, quiet=quiet, color_system=None)
            setattr(made, name, console)
        return made

    return make


def watch(view: SearchView, count: int) -> None:
    view.start(ABOUT)
    for generation in range(count):
        view.generation(record(generation))
    view.finish()


def test_a_terminal_shows_a_table_of_generations(terminal):
    place = terminal(True)
    view = SearchView(place)
    watch(view, 41)
    shown = place.err.file.getvalue()
    for text in (
        "generation",
        "best error",
        "least area",
        "evaluations/s",
        "time left",
        "Ctrl-C finishes the generation",
    ):
        assert text in shown
    assert "10.50 %" in shown
    assert "1.2 cm²" in shown
    assert "12346" in shown
    assert "40/40" in shown
    assert len(view.milestones) == 10
    assert view.live is None
    assert "200 training rows, 50 more pick the winners" in place.out.file.getvalue()


def test_elsewhere_the_first_and_the_last_generation_are_lines(terminal):
    place = terminal(False)
    watch(SearchView(place), 41)
    lines = place.err.file.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("generation 0/40, best error 10.50 %, least area 1.2 cm², evaluations 1000,")
    assert lines[0].endswith("time left …")
    assert lines[1].startswith("generation 40/40")
    assert lines[1].endswith("time left 0:00")


def test_lines_come_now_and_then_in_long_searches(terminal, monkeypatch):
    place, now = terminal(False), iter(range(0, 4000, 6))
    monkeypatch.setattr("approxhw.cli.terminal.search_view.time.monotonic", lambda: next(now))
    watch(SearchView(place), 10)
    assert len(place.err.file.getvalue().splitlines()) == 5, "every second one: they are 6 s apart, lines 10 s"


def test_a_bound_that_is_not_met_yet_is_told(terminal):
    place = terminal(False)
    view = SearchView(place)
    view.start({**ABOUT, "onnx": None})
    view.generation(record(0, area=None))
    assert "least area bound not met" in place.err.file.getvalue()
    assert "accuracy of the model: not known" in place.out.file.getvalue()


def test_machines_see_nothing(terminal):
    place = terminal(True, quiet=True)
    watch(SearchView(place), 41)
    assert place.out.file.getvalue() == place.err.file.getvalue() == ""


def test_the_front_is_a_table_and_everything_to_know(terminal, found):
    place = terminal(False)
    told = found.as_json()
    told["front"][0]["test_accuracy"] = None
    told["warnings"] = ["[red]no markup[/] of files"]
    show_front(place, {**told, "knee": told["front"][0]})
    shown = place.out.file.getvalue()
    assert len(shown.splitlines()) == 1 + len(told["front"]) + 3
    assert "–" in shown.splitlines()[1]
    assert "knee" in shown.splitlines()[1]
    assert f"chosen: {told['chosen']['design']}, " in shown
    assert "note: [red]no markup[/] of files" in place.err.file.getvalue()
