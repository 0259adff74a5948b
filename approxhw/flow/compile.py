"""compile(): read → passes → emit → read back → design folder; and the compiled design as Python sees it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from approxhw.artifacts.built_files import check_built_output, read_built, write_built
from approxhw.artifacts.design import Design, PortInfo, Rows, check_output, read_design, write_design
from approxhw.artifacts.steps import read_step
from approxhw.common.dataset import Dataset, load_dataset
from approxhw.common.errors import InvalidDataError, OptionError, Problem, UnsupportedModelError, shown
from approxhw.common.files import unwritable
from approxhw.common.version import __version__
from approxhw.ir.evaluation import accuracy, predict
from approxhw.ir.graph import Graph, titled
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import (
    Pass,
    PassContext,
    PassRecord,
    run_passes,
    spell,
)
from approxhw.ir.text import print_graph

from .describe import header_of, ledger_row, model_of
from .printed import Printed
from .targets import build_files

if TYPE_CHECKING:
    from approxhw.backends.bespoke.emit import Emitted

SEARCH = "approxhw.dse.as_pass:retrained"
"""What carries the pass ``genetic-retraining`` out."""

Progress = Callable[[str, float], None]
"""Called with the name of a step and the share of it that is done (0 … 1)."""


def read(source: Any, *, name: str | None = None) -> Graph:
    """Return the Graph of *source*: an ONNX file, ``onnx.ModelProto`` or fitted scikit-learn classifier.

    Raises :class:`~approxhw.common.errors.InvalidModelError` and :class:`~approxhw.common.errors.UnsupportedModelError`.
    """
    from approxhw.frontends import read_model

    return read_model(source, name=name)


def check(source: Any) -> list[Problem]:
    """Return everything that keeps the model in *source* from being compiled; empty where nothing does."""
    from approxhw.frontends import check_model

    return check_model(source)


@dataclass(frozen=True)
class CompiledDesign:
    """A design folder: ``folder`` on disk, ``design`` what stands in it."""

    folder: Path
    design: Design

    @property
    def verilog(self) -> str:
        """The whole circuit as one text."""
        return self.design.verilog

    @property
    def accuracy(self) -> Mapping[str, Any]:
        """Accuracies: ``onnx`` and ``hardware`` on test rows (training rows where there are none), and both splits."""
        return self.design.accuracy

    def simulate(self, simulator: str = "verilator", **options: Any) -> Any:
        """Simulate on ``icarus`` or ``verilator``; options and result as :func:`approxhw.flow.measure.simulate_design`."""
        from .measure import simulate_design

        return simulate_design(self.folder, self.design, simulator, **options)

    def estimate(self, library: str | Path | None = None, **options: Any) -> Any:
        """Measure area, delay and power; options and result as :func:`approxhw.flow.measure.estimate_design`."""
        from .measure import estimate_design

        return estimate_design(self.folder, self.design, library, **options)

    def report(self) -> Path:
        """Write ``report.html`` from all that is known so far; return its path."""
        from .write_report import report_design

        return report_design(self.folder, self.design)

    def predict(self, readings: np.ndarray) -> np.ndarray:
        """Return the class index (int64) that the hardware gives every row of *readings* (rows × features)."""
        return predict(self.design.graph, readings)


def open_design(folder: str | Path) -> CompiledDesign:
    """Return the design in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return CompiledDesign(Path(folder), read_design(Path(folder)))


@dataclass
class Clock:
    """Seconds by step, and who wants to hear of them."""

    tell: Progress | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Any:
        """Time the block as step *name*."""
        if self.tell:
            self.tell(name, 0.0)
        started = time.perf_counter()
        try:
            yield
        except OSError as error:  # a full disk under temporary files, say
            raise unwritable(Path(error.filename or f"temporary files of {name}"), error) from error
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        if self.tell:
            self.tell(name, 1.0)


def compile(
    model: Any,
    *,
    target: Any = None,
    data: Any = None,
    output: str | Path | None = None,
    passes: Sequence[Pass] | None = None,
    steps: bool = False,
    from_step: int | None = None,
    command: str = "",
    on_progress: Progress | None = None,
) -> Any:
    """Compile *model* into bespoke Verilog, checked against its Graph, and write the design folder.

    ``model``: a Graph, or what :func:`read` takes. ``target``: :class:`Printed` by default; another kind of target, such
    as :class:`approxhw.MatrixEngine`, compiles the model itself, and what it returns is returned; one of another package
    (:class:`approxhw.flow.targets.Target`) builds files of the Graph behind its passes. ``data``: what
    :func:`approxhw.load_dataset` takes; the ranges of the inputs come from its training rows (or from ``target.low`` and
    ``high``). ``output``: the folder, ``build/<name>`` by default; only a design is ever replaced. ``passes``: instead of
    the target's. ``steps``: keep the Graph after every pass; ``from_step``: start behind that step of the design that is
    in ``output`` already.
    Raises errors of :mod:`approxhw.common.errors`; nothing half-written is left.
    """
    target = Printed() if target is None else target
    builds = hasattr(target, "build")  # a target of another package
    if not isinstance(target, Printed) and not builds:
        return compiler_of(target)(
            model,
            target=target,
            data=data,
            output=output,
            passes=passes,
            steps=steps,
            from_step=from_step,
            command=command,
            on_progress=on_progress,
        )
    clock = Clock(on_progress)
    with clock.step("read"):
        graph = model if isinstance(model, Graph) else read(model)
    folder = Path(output) if output is not None else Path("build") / graph.name
    (check_built_output if builds else check_output)(folder)
    with clock.step("data"):
        rows = _rows(graph, data)
        graph = titled(graph, rows.features) if rows else graph
    with clock.step("reference"):
        reference = _reference(model, graph, rows)
    todo = tuple(passes if passes is not None else target.passes())
    texts = {"00_input.axir": print_graph(graph)}
    original, start = graph, 0
    earlier: tuple[Mapping[str, Any], ...] = ()
    if from_step is not None:
        graph, start, earlier, texts = _restart(folder, from_step, todo, _built_ledger if builds else _ledger)
    with clock.step("passes"):
        integer, records = _lowered(
            graph, todo, _context(rows, original, getattr(target, "library", "egfet")), texts, start
        )
    ledger = (*earlier, *(ledger_row(record) for record in records))
    if builds:
        told = {"model": model_of(model, graph), "command": command, "version": __version__, "ledger": list(ledger)}
        with clock.step("build"):
            built = build_files(target, integer, rows, folder, told)
        with clock.step("write"):
            write_built(built, texts if steps or from_step is not None else None)
        return built
    header = header_of(integer, model, target, [spell(item) for item in todo])
    design = designed(integer, rows, reference, header=header, registers=target.registers, clock=clock)
    design = replace(
        design,
        model=model_of(model, graph),
        pipeline=target.pipeline if passes is None else ",".join(spell(item) for item in todo),
        library=target.library,
        command=command,
        ledger=ledger,
        seconds=dict(clock.seconds),
    )
    with clock.step("write"):
        write_design(design, folder, texts if steps or from_step is not None else None)
    return CompiledDesign(folder, design)


def compiler_of(target: Any) -> Callable[..., Any]:
    """Return what compiles for *target*: the function that its class names as ``compiler``, ``module:function``."""
    entry = getattr(type(target), "compiler", None)
    if not isinstance(entry, str):
        why = f"{shown(type(target).__name__)} is no target: it names no compiler"
        raise OptionError("compile", [Problem("target", why, "such as ax.Printed() or ax.MatrixEngine()")])
    return loaded(entry)


def loaded(entry: str) -> Callable[..., Any]:
    """Return the function that *entry* names as ``module:function``: of a higher floor, or of somebody else's package."""
    module, _, name = entry.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def designed(
    graph: Graph,
    data: Dataset | None,
    reference: Mapping[str, float | None],
    *,
    header: Sequence[str] = (),
    registers: bool = False,
    clock: Clock | None = None,
) -> Design:
    """Return the Design of an integer *graph*: its circuit, emitted, and read back.

    ``data``: readings and labels, whose codes and accuracies go with it. ``reference``: accuracies of the model before any
    pass on ``train`` and ``test`` rows. ``header``: comment lines on top of every file.
    """
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.bespoke.readback import check_emitted

    clock = clock or Clock()
    with clock.step("emit"):
        emitted = emit(build_circuit(graph), registers=registers, header=header)
    with clock.step("read back"):
        modules = check_emitted(emitted)
    with clock.step("accuracy"):
        return _design(graph, emitted, tuple(modules), data, reference)


def _context(rows: Dataset | None, model: Graph, library: str) -> PassContext:
    """Return what passes may look at, with the synthesis that they cannot reach themselves."""
    from .measure import circuit_area
    from .tabulate import tabulate_verilog

    def search(graph: Graph, item: Any, context: PassContext) -> Graph:
        found: Graph = loaded(SEARCH)(graph, item, context, library)
        return found

    def area(graph: Graph) -> float:
        return circuit_area(graph, library)

    return PassContext(rows, model, tabulate=tabulate_verilog, area=area, search=search)


def _rows(graph: Graph, data: Any) -> Dataset | None:
    if data is None:
        return None
    return load_dataset(data, graph.input.type.elements, graph.classes, graph.labels)


def _reference(model: Any, graph: Graph, data: Dataset | None) -> dict[str, float | None]:
    if data is None:
        return {"train": None, "test": None}
    return reference_accuracies(
        model, graph, {"train": (data.X_train, data.y_train), "test": (data.X_test, data.y_test)}
    )


def reference_accuracies(
    model: Any, graph: Graph, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, float | None]:
    """Return the accuracy of the model before any pass on each split (readings, class indices); None without rows.

    onnxruntime says so where there is a file, else the interpreter.
    """
    from approxhw.frontends import runs_in_onnxruntime

    if isinstance(model, Graph) or not runs_in_onnxruntime(model):
        return {name: accuracy(graph, x, y) for name, (x, y) in splits.items()}
    from approxhw.frontends.runtime.reference import open_reference

    try:
        session = open_reference(model)
    except UnsupportedModelError:  # it compiles, but has operators (QONNX) that onnxruntime lacks
        return dict.fromkeys(splits)
    return {name: float(np.mean(session.predict(x) == y)) if len(x) else None for name, (x, y) in splits.items()}


def _ledger(folder: Path) -> Sequence[Mapping[str, Any]]:
    return read_design(folder).ledger


def _built_ledger(folder: Path) -> Sequence[Mapping[str, Any]]:
    ledger: Sequence[Mapping[str, Any]] = read_built(folder).record["ledger"]
    return ledger


def restarted(
    from_step: int, todo: Sequence[Pass], ledger: Callable[[], Sequence[Mapping[str, Any]]], folder: Path
) -> tuple[Mapping[str, Any], ...]:
    """Return the lines of the *ledger* of *folder* up to *from_step*; raise :class:`OptionError` where *todo* is another list."""
    if not 0 <= from_step <= len(todo):
        why = f"there is no step {from_step}; this pipeline has steps 0 to {len(todo)}"
        raise OptionError("compile", [Problem("--from-step", why)])
    earlier = tuple(ledger()[:from_step])
    for done, item in zip(earlier, todo, strict=False):
        if done["spelled"] != spell(item):
            why = f"step {done['index']} of {folder} was {done['spelled']}, now it is {spell(item)}"
            raise OptionError(
                "compile", [Problem("--from-step", why, f"start from step {done['index'] - 1} or before")]
            )
    return earlier


def _restart(
    folder: Path, from_step: int, todo: Sequence[Pass], ledger_of: Callable[[Path], Sequence[Mapping[str, Any]]]
) -> tuple[Graph, int, tuple[Mapping[str, Any], ...], dict[str, str]]:
    """Return the Graph after step *from_step* of the design in *folder*, its number, ledger and texts up to there."""
    earlier = restarted(from_step, todo, lambda: ledger_of(folder), folder)
    graph = read_step(folder / "steps", from_step)
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted((folder / "steps").glob("*.axir"))
        if int(path.name[:2]) <= from_step
    }
    return graph, from_step, earlier, texts


def _lowered(
    graph: Graph, todo: Sequence[Pass], context: PassContext, texts: dict[str, str], start: int
) -> tuple[Graph, tuple[PassRecord, ...]]:
    def keep(index: int, name: str, result: Graph, record: PassRecord) -> None:
        texts[f"{index:02d}_{name.replace('-', '_')}.axir"] = print_graph(result)

    return run_passes(graph, todo, context, on_step=keep, start=start)


def _design(
    graph: Graph,
    emitted: Emitted,
    order: Sequence[str],
    data: Dataset | None,
    reference: Mapping[str, float | None],
) -> Design:
    op = graph.input.op
    assert isinstance(op, Input)
    if op.encoding is None:
        raise InvalidDataError("compile", [Problem("inputs", "the Graph has no input code", "run quantize-inputs")])
    empty = np.zeros((0, len(op.features)))
    x_train, y_train = (data.X_train, data.y_train) if data else (empty, np.zeros(0, dtype=np.int64))
    x_test, y_test = (data.X_test, data.y_test) if data else (empty, np.zeros(0, dtype=np.int64))
    train, saturated_train = op.encoding.encode(x_train)
    test, saturated_test = op.encoding.encode(x_test)
    hardware = {"train": accuracy(graph, x_train, y_train), "test": accuracy(graph, x_test, y_test)}
    split = "test" if len(x_test) else "train"
    warnings = []
    if count := int(saturated_test.sum()):
        titles = [title for title, n in zip(op.titles, saturated_test.tolist(), strict=True) if n]
        where = ", ".join(shown(title, 40) for title in titles[:5]) + (", …" if len(titles) > 5 else "")
        warnings.append(f"{count} test readings lie outside the range of their feature and saturate ({where})")
    if data is not None and reference[split] is None:
        warnings.append("onnxruntime cannot run this model (QONNX, say): its own accuracy is not known")
    if data is None:
        warnings.append("no data was given: no accuracy is known")
    return Design(
        name=graph.name,
        top=emitted.top,
        modules=_modules(emitted, order),
        inputs=_ports(graph, emitted),
        output=emitted.output[0],
        output_bits=emitted.output[1],
        clock=emitted.clock,
        latency=emitted.latency,
        graph=graph,
        rows=Rows(train, y_train, test, y_test),
        version=__version__,
        accuracy={
            "onnx": reference[split],
            "hardware": hardware[split],
            "rows": split,
            "onnx_splits": dict(reference),
            "hardware_splits": hardware,
        },
        saturated={"train": int(saturated_train.sum()), "test": int(saturated_test.sum())},
        warnings=tuple(warnings),
    )


def _ports(graph: Graph, emitted: Emitted) -> tuple[PortInfo, ...]:
    op = graph.input.op
    assert isinstance(op, Input)
    assert op.encoding is not None
    numbers = {name: index for index, name in enumerate(op.features)}
    ports = []
    for name, positions in emitted.input_bits:
        index = numbers[name]
        ports.append(
            PortInfo(
                name=name,
                bits=len(positions),
                feature=index,
                title=op.titles[index],
                code_bits=positions,
                low=op.encoding.low[index],
                high=op.encoding.high[index],
                rule=op.encoding.rule,
                formula=op.encoding.formula(index),
            )
        )
    return tuple(ports)


def _modules(emitted: Emitted, order: Sequence[str]) -> dict[str, str]:
    """Return module → text, the header comment in front of each: files travel alone."""
    header, _, body = emitted.verilog.partition("\n\n")
    texts: dict[str, str] = {}
    comment: list[str] = []
    lines: list[str] = []
    name = ""
    for line in body.splitlines():
        if not name and line.startswith("module "):
            name = line.split()[1].split("(")[0]
        (lines if name else comment).append(line)
        if name and line == "endmodule":
            about = "\n".join(comment).strip("\n")
            texts[name] = "\n".join(part for part in (header, about, *lines) if part) + "\n"
            comment, lines, name = [], [], ""
    assert set(texts) == set(order)
    return {emitted.top: texts.pop(emitted.top), **texts}
