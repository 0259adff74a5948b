"""What the command line shows people: live progress on standard error, results on standard output."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from approxhw.common.data.dataset import REGRESSION
from approxhw.ir.evaluation import MEASURES

if TYPE_CHECKING:
    from approxhw.backends.estimate.estimator import Estimate
    from approxhw.flow.printed.compiled import CompiledDesign
    from approxhw.ir.pass_manager import LedgerLine, PassInfo
    from approxhw.sim.job import SimulationResult


class ProofLine(TypedDict):
    """What is told of a module that was to be proven equal to its netlist."""

    module: str
    proven: bool


QUIET_SECONDS = 10.0
"""Where there is no terminal: seconds between lines that say what is done."""

NO_TABLES = "this library has no delay tables, one delay a cell at most: give --liberty FILE"
"""Why nothing is said of a clock, and what to do."""


def _some(values: Sequence[float]) -> str:
    """Return the first of *values*, and how many more there are."""
    more = f" and {len(values) - 4} more" if len(values) > 4 else ""
    return ", ".join(f"{value:.4g}" for value in values[:4]) + more


def delay(found: Estimate) -> str:
    """Return the delay of an estimate in the unit that suits it: silicon in ns, printed circuits in ms."""
    return f"{found.delay_ns:.4g} ns" if found.delay_ms < 1e-3 else f"{found.delay_ms:.3g} ms"


class Terminal:
    """Rich output for people; nothing at all for machines (``quiet``)."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.out = Console(quiet=quiet, highlight=False, emoji=False)
        self.err = Console(stderr=True, quiet=quiet, emoji=False)
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.err,
            transient=True,
            disable=quiet or not self.err.is_terminal,
        )
        self.task: TaskID | None = None
        self.told = time.monotonic()

    def __enter__(self) -> Terminal:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def progress(self, step: str, done: int, total: int) -> None:
        """Show that *done* of *total* of *step* is done: a bar, or a line now and then where there is no terminal."""
        if not self.err.is_terminal and time.monotonic() - self.told >= QUIET_SECONDS:
            self.told = time.monotonic()
            self.err.print(escape(f"{step}: {done} of {total}"), soft_wrap=True)
        if self.task is None:
            self.task = self.bar.add_task(escape(step), total=total)
        self.bar.update(self.task, description=escape(step), completed=done, total=total)

    def step(self, name: str, share: float) -> None:
        """Show that *share* (0 … 1) of step *name* is done."""
        if 0 < share < 1:
            self.progress(name, round(100 * share), 100)
        else:
            self.progress(name, int(share), 1)

    def say(self, text: str) -> None:
        """Print one line."""
        self.out.print(escape(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line of warning."""
        self.err.print(f"[yellow]note:[/] {escape(text)}", soft_wrap=True)

    def compiled(self, compiled: CompiledDesign) -> None:
        """Show what a design is."""
        design, accuracy = compiled.design, compiled.accuracy
        seconds = sum(design.seconds.get(step, 0.0) for step in ("read", "passes", "emit"))
        self.say(f"design: {compiled.folder}  (ONNX to Verilog in {seconds:.2f} s)")
        if accuracy["hardware"] is not None:
            onnx = "not known" if accuracy["onnx"] is None else f"{accuracy['onnx']:.4f}"
            measure, most = accuracy["measure"], accuracy.get("majority")
            least = "" if most is None else f", always the most frequent class {most:.4f}"
            more_told = "".join(
                f"; {name.replace('_', ' ')} {_some(values)}" for name, values in accuracy["details"].items()
            )
            told = f"ONNX {onnx}, hardware {accuracy['hardware']:.4f}{least}{more_told}"
            self.say(f"{measure} on {accuracy['rows']} rows: {told}")
        inputs = ", ".join(f"{port.name}{port.carried}" for port in design.inputs[:8])
        more = f" and {len(design.inputs) - 8} more" if len(design.inputs) > 8 else ""
        outputs = ", ".join(f"{port.name}[{port.bits}]" for port in design.outputs[:8])
        rest = f" and {len(design.outputs) - 8} more" if len(design.outputs) > 8 else ""
        self.say(f"ports: {inputs}{more} -> {outputs}{rest}")
        if design.accuracy["measure"] == MEASURES[REGRESSION]:
            self.say(f"value: {design.outputs[0].meaning}")
        self.say(f"inputs read: {len(design.inputs)} of {design.graph.input.type.elements}, so {design.converters}")
        for warning in design.warnings:
            self.warn(warning)

    def simulated(self, result: SimulationResult) -> None:
        """Show the verdict of a simulation."""
        took = sum(result.seconds.values())
        self.say(f"{result.simulator}: {result.vectors} vectors, {result.mismatches} mismatches ({took:.1f} s)")

    def estimated(self, found: Estimate) -> None:
        """Show an estimate."""
        area = f"{found.area_mm2 / 100:.3f} cm²" if found.area_mm2 >= 1 else f"{found.area_mm2 * 1e6:.0f} µm²"
        if found.power_mw is None:
            power = "power not known"
            self.warn(str(found.power_unknown[0]))
        else:
            power = f"{found.power_mw:.3g} mW ({found.static_power_mw:.3g} static)"
        self.say(
            f"{found.library}: {area}, {power}, {delay(found)}, {found.cells} cells; states from {found.states_from}"
        )
        if found.clock_ns is not None and found.slack_ns is None:
            self.say(f"clock of {found.clock_ns:g} ns: not known whether it is kept; {NO_TABLES}")
        elif found.clock_ns is not None:
            met = "met" if found.met else "missed"
            self.say(f"clock of {found.clock_ns:g} ns: {met}, slack {found.slack_ns:.4g} ns")
        for note in found.notes:
            self.warn(note)
        if found.limits_exceeded:
            self.warn(f"nets above a limit of the library (load, slew or fan-out): {found.limits_exceeded}")

    def system(self, told: object) -> None:
        """Say what a circuit costs with its converters: *told* as summaries have it; nothing where nothing is known."""
        if isinstance(told, dict):
            power = "power not known" if told["power_mw"] is None else f"{told['power_mw']:.3g} mW"
            self.say(f"system, converters in: {told['area_mm2'] / 100:.3g} cm², {power}")

    def offer(self, text: str) -> None:
        """Show what another pipeline would save, and cost; nothing where nothing is offered."""
        if text:
            self.say(text)

    def proofs(self, rows: Sequence[ProofLine]) -> None:
        """Show which blocks were proven equal to their netlists."""
        proven = [row for row in rows if row["proven"]]
        if rows:
            names = ", ".join(row["module"] for row in proven)
            self.say(f"proven by SAT: {len(proven)} of {len(rows)} modules (the others are too wide) {names}".rstrip())

    def ledger(self, rows: Sequence[LedgerLine], measure: str = "accuracy") -> None:
        """Show what passes did; *measure*: what scores are called."""
        table = Table(box=None, pad_edge=False)
        for title in ("pass", "kind", "nodes", "weights", f"test {measure}", "seconds"):
            table.add_column(title)
        for row in rows:
            after = row["test_accuracy_after"]
            table.add_row(
                escape(row["spelled"]),
                row["kind"],
                f"{row['nodes_before']} → {row['nodes_after']}",
                str(row["weights"]),
                "" if after is None else f"{after:.4f}",
                f"{row['seconds']:.2f}",
            )
        self.out.print(table)

    def passes(self, infos: Sequence[PassInfo], pipelines: Mapping[str, Sequence[str]]) -> None:
        """List passes and named pipelines."""
        for info in infos:
            kind = f"{info.kind}, from {info.package}" if info.package else info.kind
            self.out.print(
                f"[bold]{escape(info.name)}[/]  ({escape(kind)})\n    {escape(info.contract)}", soft_wrap=True
            )
            for option in info.options:
                about = f"  {option.help}" if option.help else ""
                self.out.print(escape(f"    {option.name}: {option.type} = {option.default}{about}"), soft_wrap=True)
        for name, spelled in pipelines.items():
            self.out.print(f"[bold]{escape(name)}[/]  (pipeline)\n    {escape(', '.join(spelled))}", soft_wrap=True)


def how_many(number: int, what: str) -> str:
    """Return *number* of *what*, which is told in the plural: ``1 product of codes`` of ``products of codes``."""
    words = what.split()
    if number == 1:
        place = next((i for i, word in enumerate(words) if word.endswith("s")), -1)
        words[place] = words[place].removesuffix("es" if words[place].endswith("sses") else "s")
    return f"{number} {' '.join(words)}"
