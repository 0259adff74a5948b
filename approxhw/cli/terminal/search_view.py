"""A search as people watch it: a live table of generations, and the front as a table at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from approxhw.artifacts.objectives import CIRCUIT, DEFAULT

from .terminal import Terminal

if TYPE_CHECKING:
    from approxhw.artifacts.folder import Plain
    from approxhw.dse.genetic.evolution import GenerationRecord

TITLES = ("generation", "best error", "least {}", "evaluations", "evaluations/s", "front", "time left")
MILESTONES = 10
"""Earlier generations that stay in the table."""
QUIET_SECONDS = 10.0
"""Where there is no terminal: seconds between lines."""


class SearchView:
    """Shows generations as they come: a live table on a terminal, a line now and then elsewhere, nothing for machines."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.rows = 0
        self.cost = CIRCUIT[DEFAULT[1]]
        self.started: tuple[float, int] | None = None
        """When the first generation of this run was told, and which one it was."""
        self.milestones: list[tuple[str, ...]] = []
        self.latest: list[tuple[str, ...]] = []
        self.live: Live | None = None
        self.told = 0.0

    def start(self, about: Mapping[str, Any]) -> None:  # a SearchBegin, which targets hand on as any mapping
        """Take in what is searched: ``rows`` of training data, ``classes``, ``features``, ``onnx`` accuracy, ``objectives``."""
        self.rows = int(about["rows"])
        self.cost = CIRCUIT[about.get("objectives", DEFAULT)[1]]
        known = "not known" if about["onnx"] is None else f"{about['onnx']:.4f}"
        folds, families = int(about.get("folds", 1)), ", ".join(about.get("families", ()))
        if families and not about["genes"]:
            self.terminal.say(f"folds of {self.rows} training rows judge {families}; accuracy of the model: {known}")
            return
        if families:
            self.terminal.say(f"folds of all training rows judge {families}; then the genetic search")
        how = (
            f"searching on {self.rows} training rows, {about['validation']} more pick the winners"
            if folds == 1
            else f"searching {folds} times on {self.rows} training rows each, {about['validation']} in all pick the winners"
        )
        self.terminal.say(f"{how}; {about['genes']} genes; accuracy of the model: {known}")

    def progress(self, step: str, done: int, total: int) -> None:
        """Show that *done* of *total* of *step* is done: a bar, or a line now and then where there is no terminal."""
        if self.live is not None:
            self.live.update(self._table([*self.milestones, *self.latest], f"{step}: {done} of {total}"))
        elif self.terminal.err.is_terminal:
            self.terminal.progress(step, done, total)
        elif time.monotonic() - self.told >= QUIET_SECONDS:
            self.told = time.monotonic()
            self.terminal.err.print(escape(f"{step}: {done} of {total}"), soft_wrap=True)

    def generation(self, record: GenerationRecord) -> None:
        """Show a generation (``GenerationRecord``)."""
        now = time.monotonic()
        first_of_run = self.started is None
        if self.started is None:
            self.started = (now, record.generation)
        row = self._row(record, now)
        last = record.generation >= record.generations
        if self.terminal.err.is_terminal and not self.terminal.quiet:
            every = max(1, record.generations // MILESTONES)
            if self.live is None and not last:
                self.terminal.bar.stop()  # two live displays would write over each other
                self.live = Live(console=self.terminal.err, transient=True, refresh_per_second=4)
                self.live.start()
            self.latest = [row]
            if self.live is not None:
                self.live.update(self._table([*self.milestones, row]))
            if record.generation % every == 0:
                self.milestones = [*self.milestones, row][-MILESTONES:]
        elif first_of_run or last or now - self.told >= QUIET_SECONDS:
            self.told = now
            words = ", ".join(f"{title} {value}" for title, value in zip(self._titles(), row))
            self.terminal.err.print(escape(words), soft_wrap=True)

    def finish(self) -> None:
        """Leave the table: other steps follow."""
        if self.live is not None:
            self.live.stop()
            self.live = None
            self.terminal.bar.start()

    def _row(self, record: GenerationRecord, now: float) -> tuple[str, ...]:
        assert self.started is not None
        since, first = self.started
        done, left = record.generation - first, record.generations - record.generation
        unit = self.cost.title.partition(", ")[2]
        error = f"{100 * record.least_errors / self.rows:.2f} %" if self.rows else str(record.least_errors)
        return (
            f"{record.generation}/{record.generations}",
            error,
            "bound not met"
            if record.least_cost is None
            else f"{record.least_cost * self.cost.shown:.3g} {unit}".strip(),
            str(record.evaluations),
            f"{record.evaluations_per_second:.0f}",
            str(record.front_size),
            _minutes((now - since) / done * left) if done else "…",
        )

    def _titles(self) -> list[str]:
        return [title.format(self.cost.name) for title in TITLES]

    def _table(self, rows: list[tuple[str, ...]], step: str = "") -> Table:
        caption = "Ctrl-C finishes the generation and leaves a front"
        table = Table(box=None, pad_edge=False, caption=escape(f"{step}; {caption}" if step else caption))
        for title in self._titles():
            table.add_column(title, justify="right")
        for row in rows:
            table.add_row(*row)
        return table


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def show_front(terminal: Terminal, told: Mapping[str, Plain]) -> None:
    """Print the members as a table, which one is chosen and why, and everything to know."""
    table = Table(box=None, pad_edge=False)
    more = [CIRCUIT[name] for name in told.get("objectives", DEFAULT)[1:] if name not in ("area", "power", "inputs")]
    families = bool(told.get("families"))
    columns = ("member", "expected", "validation", "test", "area cm²", "power mW", "inputs")
    for title in (*columns, *(each.title.replace(",", "") for each in more), ""):
        table.add_column(title, justify="right" if title else "left")
    if families:
        table.add_column("family")
    for member in told["front"]:
        marks = [*(["chosen"] if member["chosen"] else []), *(["knee"] if member is told["knee"] else [])]
        table.add_row(
            f"{member['index']:02d}",
            _share(member.get("expected_accuracy")),
            _share(
                member["train_accuracy"] if member["validation_accuracy"] is None else member["validation_accuracy"]
            ),
            _share(member["test_accuracy"]),
            f"{member['area_mm2'] / 100:.4g}",
            f"{member['power_mw']:.3g}",
            str(member["inputs"]),
            *(f"{member[each.field] * each.shown:.4g}" for each in more),
            f"[bold]{', '.join(marks)}[/]",
            *([escape(member["family"])] if families else ()),
        )
    terminal.out.print(table)
    if (least := told.get("majority", {}).get("test")) is not None:
        terminal.say(
            f"on test rows: the model {_share(told['onnx']['test'])}, always the most frequent class {_share(least)}"
        )
    recipe = f" ({told['chosen']['recipe']})" if told["chosen"].get("recipe") else ""
    terminal.say(f"chosen: {told['chosen']['design']}{recipe}, {told['rule']}")
    if (promise := told.get("promise")) is not None:
        terminal.say(
            f"promised: {_share(promise['accuracy'])} on rows never seen, 95 % interval {100 * promise['low']:.1f}…"
            f"{100 * promise['high']:.1f} % (by {promise['rows']} rows that neither choice nor fit saw; what is expected is less "
            "what the rule takes off)"
        )
    for each in told.get("families", ()):
        tried = f"{each['recipes']} recipes, " if each["recipes"] else ""
        best = f", the best expected to hold {_share(each['best'])}" if each["synthesised"] else ""
        terminal.say(f"{each['name']}: {tried}{each['synthesised']} synthesised, {each['members']} on the front{best}")
    for simulator in told["chosen"]["simulated"]:
        vectors = sum(member["simulated"][simulator] for member in told["front"])
        terminal.say(f"{simulator}: {vectors} vectors, 0 mismatches, all members together")
    work = f"{told['evaluations']} evaluations, " if told["evaluations"] else ""
    terminal.say(f"{work}{told['seconds']:.0f} s")
    for warning in told["warnings"]:
        terminal.warn(warning)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"
