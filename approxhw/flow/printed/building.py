"""Build the circuit of a lowered Graph, read it back, and say how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.design import (
    Design,
    OutputInfo,
    PortInfo,
    Rows,
)
from approxhw.common.data.dataset import (
    CLASSIFICATION,
    REGRESSION,
    Dataset,
)
from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.common.statistics import majority_share, no_better, no_better_than_mean
from approxhw.common.version import __version__
from approxhw.flow.stages.describe import constant_note, header_of
from approxhw.flow.stages.protocol import Asked, Clock, Lowered, Source, Target
from approxhw.flow.stages.searching import searching
from approxhw.ir.evaluation import MEASURES, details_of, predict, score, task_of
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import BORDERED, Fixed

from .calibrated import calibrated_beside
from .reading import OpenedClassifier
from .safety import HeldAgainst, circuit_safety, held_against
from .target import Printed

if TYPE_CHECKING:
    from approxhw.backends.bespoke.emit import Emitted


LONG = 5.0
"""Seconds from which on it is told what a circuit will take."""


def circuit_context(source: Source[OpenedClassifier], asked: Asked[Target]) -> PassContext:
    """Return what passes may look at, with the synthesis and the search that they cannot reach themselves."""
    from approxhw.flow.stages.mapped import circuit_gates
    from approxhw.flow.stages.measure import cell_area, circuit_area
    from approxhw.flow.stages.tabulate import tabulate_verilog

    library = getattr(asked.target, "library", "egfet")

    def area(graph: Graph) -> float:
        return circuit_area(graph, library)

    return PassContext(
        source.kept.rows,
        source.graph,
        tabulate=tabulate_verilog,
        library=library,
        area=area,
        cell_area=cell_area(library),
        mapped_gates=lambda graph: circuit_gates(graph, library),
        search=searching(library),
    )


def build_design(source: Source[OpenedClassifier], asked: Asked[Printed], lowered: Lowered, clock: Clock) -> Design:
    """Return the Design of the lowered Graph."""
    from approxhw.backends.bespoke.size import SECONDS_A_BIT, check_size, duration

    target, kept = asked.target, source.kept
    bits = check_size(lowered.graph, target.max_adder_bits)
    if clock.tell and bits * SECONDS_A_BIT > LONG:
        clock.tell(f"a circuit that adds up {bits} bits: about {duration(bits * SECONDS_A_BIT)}", 0.0)
    header = header_of(lowered.graph, source.about, target, lowered.spelled)
    reference = kept.reference or {}
    with clock.step("safety"):
        held = held_against(source, asked, lowered)
    design = designed(
        lowered.graph, kept.rows, reference, header=header, registers=target.registers, clock=clock, held=held
    )
    with clock.step("calibrate"):
        calibrated = calibrated_beside(source, asked, lowered.graph, circuit_context(source, asked))
    return replace(
        design,
        model=source.about,
        pipeline=target.pipeline if asked.given is None else ",".join(lowered.spelled),
        library=target.library,
        command=asked.command,
        warnings=(*kept.notes, *design.warnings),
        ledger=lowered.ledger,
        seconds=dict(clock.seconds),
        calibrated=calibrated,
    )


def designed(
    graph: Graph,
    data: Dataset | None,
    reference: Mapping[str, float | None],
    *,
    header: Sequence[str] = (),
    registers: bool = False,
    clock: Clock | None = None,
    emitted: Emitted | None = None,
    held: HeldAgainst | None = None,
) -> Design:
    """Return the Design of an integer *graph*: its circuit, emitted, and read back.

    ``data``: readings and labels, whose codes and accuracies go with it. ``reference``: accuracies of the model before any
    pass on ``train`` and ``test`` rows. ``header``: comment lines on top of every file. ``emitted``: the circuit
    under its header, where it is there already. ``held``: what a safety report holds its answers against.
    """
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.bespoke.readback import check_emitted

    clock = clock or Clock()
    with clock.step("emit"):
        head = header or (f"made by approxhw {__version__}",)  # files travel alone
        if emitted is None:
            emitted = emit(build_circuit(graph), registers=registers, header=head, on_block=clock.part("emit"))
    with clock.step("read back"):
        modules = check_emitted(emitted)
    with clock.step("accuracy"):
        return _design(graph, emitted, tuple(modules), data, reference, held)


def _design(
    graph: Graph,
    emitted: Emitted,
    order: Sequence[str],
    data: Dataset | None,
    reference: Mapping[str, float | None],
    held: HeldAgainst | None,
) -> Design:
    op = graph.input.op
    assert isinstance(op, Input)
    if op.encoding is None:
        raise InvalidDataError("compile", [Problem("inputs", "the Graph has no input code", "run quantize-inputs")])
    empty = np.zeros((0, op.encoding.width))
    x_train, y_train = (data.X_train, data.y_train) if data else (empty, np.zeros(0, dtype=np.int64))
    x_test, y_test = (data.X_test, data.y_test) if data else (empty, np.zeros(0, dtype=np.int64))
    train, saturated_train = op.encoding.encode(x_train)
    test, saturated_test = op.encoding.encode(x_test)
    found = {name: predict(graph, x) for name, x in (("train", x_train), ("test", x_test)) if len(x)}
    hardware = {
        "train": score(graph, x_train, y_train, found.get("train")),
        "test": score(graph, x_test, y_test, found.get("test")),
    }
    split = "test" if len(x_test) else "train"
    task = task_of(graph)
    classes = task == CLASSIFICATION
    named = "test rows" if split == "test" else "training rows"
    majority = {name: majority_share(y) if classes else None for name, y in (("train", y_train), ("test", y_test))}
    warnings = [] if data is None else list(data.notes)
    if classes:
        warnings += constant_note(
            graph, not emitted.input_bits, (x_test, y_test) if split == "test" else (x_train, y_train), split
        )
        warnings += no_better("the model", reference.get(split), majority[split], named)
        warnings += no_better("the circuit", hardware[split], majority[split], named)
    else:
        warnings += [] if emitted.input_bits else ["the circuit is constant: it reads no input"]
        scores = {"the model": reference.get(split), "the circuit": hardware[split]}
        usual = majority_share(y_test if split == "test" else y_train)
        for what, reached in scores.items():
            if task == REGRESSION:
                warnings += no_better_than_mean(what, reached, named)
            else:
                warnings += no_better(what, reached, usual, named, "the most frequent labels")
    if count := int(saturated_test.sum()):
        titles = [title for title, n in zip(op.titles, saturated_test.tolist(), strict=True) if n]
        where = ", ".join(shown(title, 40) for title in titles[:5]) + (", …" if len(titles) > 5 else "")
        warnings.append(f"{count} test readings lie outside the range of their feature and saturate ({where})")
    if data is not None and reference[split] is None:
        warnings.append("onnxruntime cannot run this model (QONNX, say): its own accuracy is not known")
    if data is None:
        warnings.append("no data was given: no accuracy is known")
    told = y_test if len(x_test) else y_train
    return Design(
        name=graph.name,
        top=emitted.top,
        modules=_modules(emitted, order),
        inputs=_ports(graph, emitted),
        outputs=_outputs(graph, emitted),
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
            "measure": MEASURES[task],
            "details": details_of(task, found[split], told) if len(told) else {},
            "majority": majority[split],
            "majority_splits": majority,
        },
        saturated={"train": int(saturated_train.sum()), "test": int(saturated_test.sum())},
        warnings=tuple(warnings),
        safety=None if data is None or held is None else circuit_safety(graph, data, found, held),
    )


def _ports(graph: Graph, emitted: Emitted) -> tuple[PortInfo, ...]:
    op = graph.input.op
    assert isinstance(op, Input)
    assert op.encoding is not None
    numbers = {name: index for index, name in enumerate(op.features)}
    ports = []
    for name, positions in emitted.input_bits:
        index = numbers[name]
        thresholds = op.encoding.borders[index] if op.encoding.rule in BORDERED else ()
        low, high = op.encoding.low[index], op.encoding.high[index]
        spread = high - low
        ports.append(
            PortInfo(
                name=name,
                bits=len(positions),
                feature=index,
                title=op.titles[index],
                code_bits=positions,
                low=low,
                high=high,
                rule=op.encoding.rule,
                formula=op.encoding.formula(index),
                thresholds=thresholds,
                shares=tuple((border - low) / spread if spread else 0.0 for border in thresholds),
            )
        )
    return tuple(ports)


def _outputs(graph: Graph, emitted: Emitted) -> tuple[OutputInfo, ...]:
    """Return what each output port carries: a class index, a value by its scale, or a label."""
    task, fmt = task_of(graph), graph[graph.output].type.format
    assert isinstance(fmt, Fixed)
    if task == CLASSIFICATION:
        return tuple(OutputInfo(name, bits) for name, bits in emitted.outputs)
    if task == REGRESSION:
        moved = f"({{}} - {fmt.zero})" if fmt.zero else "{}"
        return tuple(
            OutputInfo(name, bits, f"{moved.format(name)} * {fmt.scale}", fmt.signed, str(fmt.scale), fmt.zero)
            for name, bits in emitted.outputs
        )
    labels = graph.labels or tuple(range(len(emitted.outputs)))
    return tuple(OutputInfo(name, bits, f"label {label}") for (name, bits), label in zip(emitted.outputs, labels))


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
