"""Passes: what one is, how they are found, spelled and described, and how a list of them runs and keeps a ledger."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np

from approxhw.common.arguments import checked, field_problems, told
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import ApproxhwError, GraphError, OptionError, PassError, Problem, shown
from approxhw.common.options import (
    OptionInfo,
    option_class_problem,
    options_of,
    parse_calls,
    read_options,
    spell_call,
    suggestion,
)
from approxhw.common.plugins import failed, load_plugin, package_of, plugins
from approxhw.numerics.formats import Fixed
from approxhw.numerics.logic.care_set import drawn_words
from approxhw.numerics.logic.gates import MappedGates
from approxhw.numerics.multipliers.tables import ProductTable, Stated

from .evaluation import care_set_of, codes_of, score
from .graph import Graph, Node, ranges
from .interpreter import run
from .kinds import Constant, Conv, ConvInteger, ConvTranspose, Dense, Gemm, MatMul, MatMulInteger
from .rewriting import Reshaping
from .verifier import problems

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from _typeshed import DataclassInstance

KINDS = ("algebraic", "exact", "approximating")
"""What a pass promises: equal over the rationals; equal bit for bit; declares what it changes."""

_PACKAGE = "approxhw.passes"
_PIPELINES = "pipelines"
_CHECKED_ROWS = 512
_DEFECT = "this is a defect of the pass; please report it"


@dataclass(frozen=True)
class PassContext:
    """What passes may look at besides the Graph: rows (training rows only), and a place for notes in the ledger.

    ``model``: the Graph before any pass, whose outputs a calibrating pass may hold its own against; ``run_passes`` sets it.
    ``tabulate``: reads a multiplier in Verilog, ``area``: mm² of a Graph's circuit; callables of those who run passes, as
    passes know no synthesis.
    """

    data: Dataset | None = None
    model: Graph | None = None
    notes: list[str] = field(default_factory=list)
    tabulate: Callable[[Path, Stated], ProductTable] | None = None
    library: str = "egfet"
    """Cells that areas are told in: a built-in library, or a Liberty file."""
    area: Callable[[Graph], float] | None = None
    cell_area: Callable[[str, str], float] | None = None
    """Of a Verilog text and its top module, in mm² of ``library``."""
    mapped_gates: Callable[[Graph], MappedGates] | None = None
    """The gates of a Graph's circuit, synthesised to the cells of ``library``."""
    accuracy: Callable[[Graph], tuple[float | None, float | None]] | None = None
    """Of a tensor Graph on training and on test rows; it takes a host's runtime, which passes do not know."""
    observe: Callable[[Graph, Callable[[Node, np.ndarray], None]], None] | None = None
    """Carries a tensor Graph out on training rows, batch by batch, and shows every value as it is made."""
    training: tuple[Mapping[str, np.ndarray], np.ndarray | None] | None = None
    """Training rows of a tensor Graph, an array by the title of each input, and their class indices where they have any."""
    fits: dict[str, np.ndarray] | None = None
    """Weights that fit-weights found, by a digest of all that they depend on: kept by who runs it many times on the same rows."""
    reshaping: Reshaping | None = None
    """Of a tensor Graph whose shapes passes may change: channels, ranks."""
    threads: int = 1
    """That a pass may take; they change nothing but the time."""
    search: Callable[[Graph, Pass, PassContext], Graph] | None = None
    """Finds a network, or gates, in place of a Graph, as its second argument, a pass that searches, asks for it."""
    on_progress: Callable[[str, int, int], None] | None = None
    """Hears how much of a long pass is done, of how much."""

    def note(self, text: str) -> None:
        """Add a line to the record of the running pass."""
        self.notes.append(text)


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass: its fields are its options, the first line of its docstring is its contract.

    An exact one with a class variable ``occurring_alone = True`` promises equality on codes that can occur, and no others.
    """

    kind: ClassVar[str]

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return the changed Graph."""
        ...


PassClass = type[Any]
"""The class of a pass: called with its options, which differ from class to class, it gives a :class:`Pass`."""


@dataclass(frozen=True)
class PassInfo:
    """A pass as ``approxhw passes`` lists it."""

    name: str
    kind: str
    contract: str
    options: tuple[OptionInfo, ...]
    package: str = ""
    """The package that added it, and its version; empty for our own."""


@dataclass(frozen=True)
class PassRecord:
    """One line of the ledger. Accuracies are scores by the measure of the task, None without rows; widths are in bits."""

    index: int
    name: str
    spelled: str
    options: Mapping[str, object]
    kind: str
    seconds: float
    nodes_before: int
    nodes_after: int
    train_accuracy_before: float | None
    train_accuracy_after: float | None
    test_accuracy_before: float | None
    test_accuracy_after: float | None
    weights: int
    """Weights other than 0 after the pass."""
    accumulator_bits: int | None
    """Width of the widest sum after the pass; None while sums are real-valued."""
    checked_rows: int
    """Rows on which the output before and after was compared (exact passes)."""
    notes: tuple[str, ...] = ()


LedgerLine = Mapping[str, Any]
"""A :class:`PassRecord` in plain types, as it stands in folders: its fields by name, each of its own type."""


def _homes() -> dict[str, str]:
    """Return the module of every pass by the pass's name: each file of a folder of ``passes/`` is one."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [path for folder in folders for path in Path(folder).glob("*/*.py") if not path.stem.startswith("_")]
    return {path.stem.replace("_", "-"): f"{_PACKAGE}.{path.parent.name}.{path.stem}" for path in files}


def _added() -> dict[str, EntryPoint]:
    """Return the passes of other packages by name (docs/plugins.md)."""
    homes = _homes()
    return plugins("passes", lambda name: name in homes or name in _pipelines())


def available_passes() -> tuple[str, ...]:
    """Return the names of all passes, those of other packages among them, sorted; none is imported."""
    return tuple(sorted((*_homes(), *_added())))


def pass_named(name: str) -> PassClass:
    """Return the class of the pass called *name*; raise :class:`OptionError` where there is none."""
    homes, added = _homes(), _added()
    if name in added:
        theirs: PassClass = load_plugin(added[name], "a pass", lambda found: _misfit(name, found))
        return theirs
    if name not in homes:
        known = [*sorted((*homes, *added)), *available_pipelines()]
        raise OptionError(
            "passes", [Problem(name, f"there is no pass or pipeline of this name{suggestion(name, known)}")]
        )
    found: PassClass = getattr(importlib.import_module(homes[name]), _class_name(name))
    return found


def _misfit(name: str, found: object) -> str | None:
    """Return why what another package calls the pass *name* is no pass; None where it is one."""
    if why := option_class_problem(found):
        return why
    assert isinstance(found, type)
    if not any("__call__" in base.__dict__ for base in found.__mro__):
        return "it cannot be called with a Graph and a PassContext"
    if getattr(found, "kind", None) not in KINDS:
        return f"its kind is not one of {', '.join(KINDS)}"
    if (spelled := describe(found).name) != name:  # ledgers and --from-step know a pass by its class
        return f"the pass of class {found.__name__} is called {spelled}, the entry point {name}"
    return None


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def name_of(item: Pass) -> str:
    """Return the name of a pass object, such as ``fold-affine``."""
    return _spelled_name(type(item))


def describe(cls: PassClass) -> PassInfo:
    """Return name, kind, contract and options of a pass class."""
    name = _spelled_name(cls)
    contract = (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""
    added = _added_as(cls)
    return PassInfo(name, cls.kind, contract, options_of(cls), package_of(added) if added is not None else "")


def _added_as(cls: type[object]) -> EntryPoint | None:
    """Return the entry point that gives pass class *cls*; None for our own, and for one that was merely written somewhere."""
    found = None if cls.__module__.startswith(f"{_PACKAGE}.") else _added().get(_spelled_name(cls))
    same = found is not None and found.module.split(".")[0] == cls.__module__.split(".")[0]
    return found if same else None


def _spelled_name(cls: type[object]) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("-")


def available_pipelines() -> tuple[str, ...]:
    """Return the names of all named pipelines, sorted."""
    return tuple(sorted(_pipelines()))


def _pipelines() -> dict[str, Callable[..., tuple[Pass, ...]]]:
    found: dict[str, Callable[..., tuple[Pass, ...]]] = importlib.import_module(f"{_PACKAGE}.{_PIPELINES}").PIPELINES
    return found


@checked("named_pipeline")
def named_pipeline(name: str, **options: object) -> tuple[Pass, ...]:
    """Return the passes of a named pipeline; raise :class:`OptionError` for an unknown name or option."""
    makers = _pipelines()
    if name not in makers:
        why = f"there is no pipeline of this name{suggestion(name, list(makers))}"
        raise OptionError("pipeline", [Problem(name, why)])
    values, found = read_options(makers[name], options, name)
    if found:
        raise OptionError(f"pipeline {name}", found)
    try:
        return makers[name](**values)
    except OptionError as error:
        # the first pass that refuses its options ends it: each of them alone tells what is wrong with the others
        problems = dict.fromkeys(error.problems)
        for option, value in values.items():
            try:
                makers[name](**{option: value})
            except OptionError as other:
                problems |= dict.fromkeys(other.problems)
        raise OptionError(error.subject, list(problems)) from error


@checked("parse_passes")
def parse_passes(text: str) -> tuple[Pass, ...]:
    """Return the pass objects that *text* spells, such as ``fold-affine,quantize-weights{bits=8}``.

    The name of a pipeline stands for its passes. Raises :class:`OptionError` that lists every unknown name and option
    and every value of the wrong type.
    """
    calls, found = parse_calls(text)
    passes: list[Pass] = []
    for name, options in calls:
        try:
            if name in available_pipelines():
                passes += named_pipeline(name, **options)
                continue
            cls = pass_named(name)
            values, wrong = read_options(cls, options, name)
            found += wrong
            if not wrong:
                passes.append(cls(**values))
        except OptionError as error:
            found += error.problems
    if found:
        raise OptionError("passes", found)
    return tuple(passes)


PassesSpec: TypeAlias = "str | Pass | Sequence[str | Pass]"
"""Passes as users give them: objects, texts that :func:`parse_passes` reads, or both in a row."""


def passes_of(given: PassesSpec) -> tuple[Pass, ...]:
    """Return the passes that are *given*; raise :class:`OptionError` with everything in it that is none.

    A pass whose fields are not of the types that it declares is none: what it would make of them nobody knows.
    """
    if isinstance(given, str):
        return parse_passes(given)
    several = isinstance(given, Sequence | Iterator) and not isinstance(given, bytes)
    passes: list[Pass] = []
    found: list[Problem] = []
    for number, item in enumerate(cast("Sequence[object]", given) if several else (given,)):
        where = f"passes[{number}]" if several else "passes"
        if isinstance(item, str):
            try:
                passes += parse_passes(item)
            except OptionError as error:
                found += error.problems
        elif isinstance(item, type) and is_dataclass(item):
            found.append(Problem(where, f"{told(item)} is no pass", f"call it: {shown(item.__name__, 60)}()"))
        elif isinstance(item, type) or not is_dataclass(item) or not isinstance(item, Pass):
            found.append(
                Problem(where, f"{told(item)} is no pass", "give pass objects, or texts such as 'fold-affine'")
            )
        else:
            found += [replace(each, where=f"{name_of(item)}.{each.where}") for each in field_problems(item)]
            passes.append(item)
    if found:
        raise OptionError("passes", found)
    return tuple(passes)


def spell_pass(item: Pass) -> str:
    """Return the text that :func:`parse_passes` reads as *item*; options at their default are left out."""
    return spell_call(name_of(item), item)


def placed(passes: Sequence[Pass], item: Pass, *, before: str) -> tuple[Pass, ...]:
    """Return *passes* with *item* in front of the first one called *before*; behind all of them where there is none."""
    names = [name_of(other) for other in passes]
    at = names.index(before) if before in names else len(names)
    return (*passes[:at], item, *passes[at:])


@checked("run_passes")
def run_passes(
    graph: Graph,
    passes: PassesSpec,
    context: PassContext | None = None,
    on_step: Callable[[int, str, Graph, PassRecord], None] | None = None,
    *,
    check: bool = True,
    start: int = 0,
) -> tuple[Graph, tuple[PassRecord, ...]]:
    """Run *passes* over *graph* and return the last Graph and the ledger, one record a pass.

    After every pass the verifier runs; with *check*, output before and after an ``exact`` pass is compared on rows of
    the data and on random ones. ``on_step(index, name, graph, record)`` is called after every pass, index from 1.
    With *start*, *graph* is what the pass of that number gave, and the passes up to it are left out.
    Raises :class:`GraphError` for a broken *graph*, and :class:`PassError` that names the pass that went wrong.
    """
    passes = passes_of(passes)
    context = context or PassContext()
    if context.model is None and not start:
        context = replace(context, model=graph)
    found = problems(graph)
    if found:
        raise GraphError(f"Graph {shown(graph.name)}", found)
    records: list[PassRecord] = []
    before = _accuracies(graph, context)
    for index, item in enumerate(passes[start:], start + 1):
        name, began = name_of(item), time.perf_counter()
        context.notes.clear()
        result = _run_one(graph, item, context)
        seconds = time.perf_counter() - began
        checked = _check_exact(graph, result, item, context) if check and item.kind == "exact" else 0
        after = before if result is graph else _accuracies(result, context)
        records.append(_record(index, item, seconds, (graph, result), (before, after), checked, tuple(context.notes)))
        graph, before = result, after
        if on_step:
            on_step(index, name, graph, records[-1])
    return graph, tuple(records)


def _run_one(graph: Graph, item: Pass, context: PassContext) -> Graph:
    name = name_of(item)
    if graph.is_tensor and not getattr(item, "tensors", False):
        why = f"{name} works on one row of a classifier; {shown(graph.name)} is a Graph of whole tensors"
        raise PassError(f"pass {name}", [Problem(name, why, "approxhw passes tells which passes work on tensors")])
    try:
        result = item(graph, context)
        if not isinstance(result, Graph):
            raise TypeError(f"it returned {type(result).__name__}, not a Graph")
    except ApproxhwError:
        raise
    except Exception as error:
        if (entry := _added_as(type(item))) is not None:
            raise failed(entry, f"on Graph {shown(graph.name)}", error) from error
        if not isinstance(error, (ArithmeticError, LookupError, TypeError, ValueError)):
            raise
        why = f"it failed on Graph {shown(graph.name)}: {type(error).__name__}: {shown(error, 200)}"
        raise PassError(f"pass {name}", [Problem(name, why, _DEFECT)]) from error
    broken = problems(result)
    if broken:
        raise PassError(f"pass {name} made a Graph that breaks rules", broken)
    return result


def _check_exact(before: Graph, after: Graph, item: Pass, context: PassContext) -> int:
    """Compare the outputs on data rows, corners and random rows; return how many rows that were."""
    if not before.is_integer:
        return 0
    name, rows = name_of(item), _rows(before, context.data, occurring=getattr(item, "occurring_alone", False))
    different = np.flatnonzero((run(before, rows) != run(after, rows)).reshape(len(rows), -1).any(axis=1))
    if len(different):
        why = (
            f"it is exact, but {len(different)} of {len(rows)} rows differ; the first is {rows[different[0]].tolist()}"
        )
        raise PassError(f"pass {name}", [Problem(name, why, _DEFECT)])
    return len(rows)


def _rows(graph: Graph, data: Dataset | None, *, occurring: bool) -> np.ndarray:
    """Return data rows, corners and random rows of codes; with *occurring* none that cannot occur."""
    node, rng = graph.input, np.random.default_rng(1)
    low, high = (np.array([int(v) for v in end], dtype=object) for end in ranges(graph)[node.name])
    high = np.minimum(high, (1 << 62) - 1).astype(np.int64)
    low, n = low.astype(np.int64), node.type.elements
    if occurring:
        parts = [drawn_words(care_set_of(graph), _CHECKED_ROWS, rng)]
    else:
        parts = [low[None, :], high[None, :], rng.integers(low, high + 1, (_CHECKED_ROWS, n))]
    if data is not None and len(data.X_train):
        parts.append(codes_of(graph, data.X_train[:_CHECKED_ROWS]))
    return np.concatenate(parts).astype(np.int64)


_Accuracies = tuple[float | None, float | None]


def _accuracies(graph: Graph, context: PassContext) -> _Accuracies:
    if graph.is_tensor:
        return context.accuracy(graph) if context.accuracy else (None, None)
    data = context.data
    if data is None:
        return None, None
    return score(graph, data.X_train, data.y_train), score(graph, data.X_test, data.y_test)


def _record(
    index: int,
    item: Pass,
    seconds: float,
    graphs: tuple[Graph, Graph],
    accuracies: tuple[_Accuracies, _Accuracies],
    checked: int,
    notes: tuple[str, ...],
) -> PassRecord:
    before, after = accuracies
    weights, bits = weights_and_bits(graphs[1])
    values = {f.name: getattr(item, f.name) for f in fields(cast("DataclassInstance", item))}
    return PassRecord(
        index=index,
        name=name_of(item),
        spelled=spell_pass(item),
        options=values,
        kind=item.kind,
        seconds=seconds,
        nodes_before=len(graphs[0].nodes),
        nodes_after=len(graphs[1].nodes),
        train_accuracy_before=before[0],
        train_accuracy_after=after[0],
        test_accuracy_before=before[1],
        test_accuracy_after=after[1],
        weights=weights,
        accumulator_bits=bits,
        checked_rows=checked,
        notes=notes,
    )


def _tensor_weights_and_bits(graph: Graph) -> tuple[int, int | None]:
    read: set[str] = set()
    bits: list[int] = []
    for node in graph.nodes:
        if isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose):
            read.update(node.inputs[:2])
            bits += [node.op.arithmetic.accumulator_bits] if node.op.arithmetic else []
        if isinstance(node.op, MatMulInteger | ConvInteger):
            read.update(node.inputs[:2])
            bits += [node.op.arithmetic.accumulator_bits] if node.op.arithmetic else []
    ops = [graph[name].op for name in sorted(read)]
    return sum(int(np.count_nonzero(op.data)) for op in ops if isinstance(op, Constant)), max(bits, default=None)


def weights_and_bits(graph: Graph) -> tuple[int, int | None]:
    """Return the number of weights other than 0, and the width of the widest integer sum (None where there is none)."""
    if graph.is_tensor:
        return _tensor_weights_and_bits(graph)
    weights, widths = 0, []
    known = ranges(graph)
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            weights += int(np.count_nonzero(graph.constant(node.inputs[1])))
            if node.name in known and isinstance(node.type.format, Fixed):
                widths.append(node.type.format.bits)
    return weights, max(widths, default=None)
