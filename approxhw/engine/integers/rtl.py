"""An integer engine's array as plain types and back, its Verilog, and what a layer's columns are given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.integer_engine import (
    CONSTANTS,
    INTEGER_ENGINE,
    IntegerDesign,
    IntegerFields,
    read_integer_engine,
)
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.version import __version__
from approxhw.flow.stages.tabulate import operator_text, without_directives
from approxhw.ir.graph import Graph, Node
from approxhw.ir.tensor.integer_layers import held, integer_op, layers_of_moved_weights
from approxhw.numerics.functions.unit_words import unit_of_words, unit_words
from approxhw.numerics.mac.integer_mac import IntegerMac, operator_name, parse_integer_mac
from approxhw.numerics.multipliers.families import EXACT, own_operator
from approxhw.numerics.multipliers.tables import FIRST

from .layers import Ended, Streams, column_activations, ended, layer_patterns, unknown_operator
from .target import IntegerEngine

if TYPE_CHECKING:
    from approxhw.backends.integer_engine.constants import ColumnConstants
    from approxhw.backends.integer_engine.engine import IntegerArray
    from approxhw.backends.integer_engine.foreign_operators import OperatorModule


def array_for(
    target: IntegerEngine, mac: IntegerMac, names: tuple[str, ...], variate: int, graph: Graph
) -> IntegerArray:
    """Return the array of *target* for products by *mac*, with the operators *names* and a column of row sums for *variate*.

    Raises :class:`OptionError` for an operator of which nobody has said the gates.
    """
    from approxhw.backends.integer_engine.engine import IntegerArray

    foreign = tuple(_foreign(target, mac, name) for name in names if name != EXACT and own_operator(name) is None)
    sums = variate or (mac.x_bits if layers_of_moved_weights(graph) else 0)
    return IntegerArray(
        rows=target.rows,
        columns=target.columns,
        mac=replace(mac, operator=names[0]),
        depth=target.depth,
        vectors=target.vectors,
        result="codes",
        variate=sums,
        operators=names,
        foreign=foreign,
        units=column_activations(graph),
    )


def _foreign(target: IntegerEngine, mac: IntegerMac, name: str) -> OperatorModule:
    from approxhw.backends.integer_engine.foreign_operators import read_operator_module

    named = next((each for each in target.operators if operator_name(each) == name), "")
    path = Path(named)
    if path.suffix not in (".v", ".sv"):
        raise unknown_operator(name)
    text = without_directives(operator_text(path), path)
    weight = None if target.weight == FIRST else target.weight
    return read_operator_module(name, text, weight_bits=mac.weight_bits, x_bits=mac.x_bits, weight=weight)


def array_fields(array: IntegerArray) -> IntegerFields:
    """Return *array* as plain types."""
    return {
        "rows": array.rows,
        "columns": array.columns,
        "mac": str(array.mac),
        "depth": array.depth,
        "vectors": array.vectors,
        "result": array.result,
        "variate": array.variate,
        "operators": array.names,
        "foreign": tuple(asdict(each) for each in array.foreign),  # type: ignore[misc]
        "units": tuple(json.dumps(unit_words(each)) for each in array.units),
    }


def array_from(told: IntegerFields, result: str | None = None) -> IntegerArray:
    """Return the array that *told* describes, with columns that end in *result*; raise :class:`OptionError` where it is none."""
    from approxhw.backends.integer_engine.engine import IntegerArray
    from approxhw.backends.integer_engine.foreign_operators import OperatorModule, read_operator_module

    try:
        mac = parse_integer_mac(told["mac"])
    except ValueError as error:
        raise OptionError("integer engine", [Problem("mac", str(error))]) from error
    foreign = tuple(OperatorModule(**each) for each in told["foreign"])
    try:
        for each in foreign:  # anybody may have written it
            again = read_operator_module(
                each.name,
                each.verilog,
                weight_bits=each.weight_bits,
                x_bits=each.x_bits,
                top=each.top,
                weight=each.weight,
            )
            if again != each:
                raise OptionError(
                    "integer engine", [Problem(f"operator {shown(each.name, 60)}", "its ports are others")]
                )
    except InvalidDesignError as error:
        raise OptionError("integer engine", list(error.problems)) from error
    try:
        units = tuple(unit_of_words(json.loads(each)) for each in told.get("units", ()))
    except (RecursionError, ValueError) as error:
        raise OptionError("integer engine", [Problem("units", shown(error, 120), "compile it again")]) from error
    ends = told["result"] if result is None else result
    return IntegerArray(
        rows=told["rows"],
        columns=told["columns"],
        mac=mac,
        depth=told["depth"],
        vectors=told["vectors"],
        result=ends,  # type: ignore[arg-type]  # it refuses what is none
        variate=told["variate"],
        operators=tuple(told["operators"]),
        foreign=foreign,
        units=units,
    )


def integer_modules(array: IntegerArray) -> dict[str, str]:
    """Return module → text without a header; the top first."""
    from approxhw.backends.integer_engine.engine import integer_engine_modules

    return {name: f"{text.strip()}\n" for name, text in integer_engine_modules(array).items()}


def whole_integer_engine(folder: Path) -> IntegerDesign:
    """Return the engine in *folder*, which can be built, and is what its Verilog says: anybody may have written either.

    Raises :class:`InvalidDesignError`. Verilog is compared where this version wrote it.
    """
    design = read_integer_engine(folder)
    try:
        built = integer_modules(array_from(design.engine))
    except OptionError as error:
        raise INTEGER_ENGINE.refused(
            folder, "; ".join(f"{each.where}: {each.why}" for each in error.problems)
        ) from error
    body = {name: text.partition("\n\n")[2] for name, text in design.modules.items()}
    if design.version == __version__ and body != built:
        raise INTEGER_ENGINE.refused(folder, "engine: its Verilog is that of another one")
    return design


@dataclass(frozen=True)
class LayerSchedule:
    """How a product goes through an array: tiles, the fewest clocks, and which share of its multiply-adds are the product's."""

    tiles: int
    clocks: int
    utilisation: float


def layer_schedule(told: IntegerFields, m: int, k: int, n: int) -> LayerSchedule:
    """Return the schedule of M × K by K × N on the array that *told* describes."""
    from approxhw.backends.integer_engine.words import integer_clocks
    from approxhw.backends.systolic.schedule import make_schedule

    array = array_from(told)
    schedule = make_schedule(array, m, k, n)
    clocks = integer_clocks(array, schedule)
    return LayerSchedule(len(schedule.tiles), clocks, m * k * n / (clocks * array.rows * array.columns))


def layer_constants(
    graph: Graph, node: Node, streams: Streams, told: IntegerFields
) -> tuple[dict[str, np.ndarray], str]:
    """Return what is kept of the layer *node*: bit patterns, constants of its columns; and whether it ends in codes or sums."""
    from approxhw.backends.integer_engine.constants import column_constants, zero_point_constants

    mac, op = parse_integer_mac(told["mac"]), integer_op(node)
    width = streams.weights.shape[1]
    x, weights = layer_patterns(streams, mac)
    bias, coefficient = zero_point_constants(mac, streams.weights, streams.x.dtype, streams.x_zero, streams.weight_zero)
    if op.variate:
        own = held(graph, node.inputs[-1])
        assert own is not None
        coefficient = own.reshape(-1)[streams.columns].astype(np.int64)
    end = ended(graph, node)
    if (np.abs(bias + end.bias[streams.columns]) >= 1 << 31).any():
        # with what zero points add the bias leaves the 32 bits of an end: the host adds it
        end = Ended(np.zeros_like(end.bias))
    bias = bias + end.bias[streams.columns]
    more: Mapping[str, np.ndarray | int] = {}
    if end.rescale is not None and end.multiplier is not None and end.shift is not None:
        more = {
            "multiplier": end.multiplier[streams.columns],
            "shift": end.shift[streams.columns],
            "zero": end.rescale.zero,
            "low": end.rescale.low,
            "high": end.rescale.high,
            "unit": array_from(told).units.index(end.unit) + 1 if end.unit is not None else 0,
        }
    constants = column_constants(width, bias=bias, coefficient=coefficient, **more)
    return {"x": x, "weights": weights, **vars(constants)}, "codes" if end.rescale is not None else "sums"


def constants_of(arrays: Mapping[str, np.ndarray]) -> ColumnConstants:
    """Return the constants among what is kept of a layer."""
    from approxhw.backends.integer_engine.constants import ColumnConstants

    return ColumnConstants(*(arrays[name].astype(np.int64) for name in CONSTANTS))
