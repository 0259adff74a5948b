"""Stream a real layer of the model through the integer engine's Verilog on a simulator, and compare every bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from approxhw.artifacts.integer_engine import IntegerDesign, IntegerLayer
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.options import Keywords

from ..kept_verdicts import MOST_VECTORS, EngineVerdict, LayerStreams, check_streaming, operands_file, stream_layer
from .rtl import array_from, constants_of, integer_modules


def integer_layer_job(
    design: IntegerDesign,
    layer: IntegerLayer,
    *,
    vectors: int = MOST_VECTORS,
    columns: int | None = None,
    disturbance: Keywords | None = None,
) -> LayerStreams:
    """Return the streams of *layer* on the engine of *design*: the first *vectors* rows of its activations, all its weights.

    ``columns``: of the weights at most; all by default. A layer that ends in sums goes through the same array with ends that
    pass sums on.
    """
    from approxhw.backends.integer_engine.words import (
        integer_activation_words,
        integer_clocks,
        integer_result_words,
        integer_weight_words,
        padding_of,
    )
    from approxhw.backends.systolic.protocol import FAULTS
    from approxhw.backends.systolic.schedule import make_schedule
    from approxhw.sim.streams import Disturbance, Stream, StreamJob

    file = operands_file(layer)
    array = array_from(design.engine, layer.result)
    arrays = design.operands[file]
    x, weights = arrays["x"][:vectors], arrays["weights"][:, :columns]
    constants = constants_of({name: each[:columns] if each.ndim == 1 else each for name, each in arrays.items()})
    schedule = make_schedule(array, len(x), *weights.shape)
    chosen = replace(array, mac=array.mac_of(layer.operator)) if layer.operator != array.mac.operator else array
    products = arrays["products"].astype(np.int64)
    filling = padding_of(chosen.mac, products)
    words, ends = integer_weight_words(array, schedule, np.ascontiguousarray(weights), constants, filling)
    stream, stream_ends, user = integer_activation_words(array, schedule, np.ascontiguousarray(x), filling)
    results, result_ends = integer_result_words(chosen, schedule, x, weights, constants, products)
    verilog = design.verilog if layer.result == design.engine["result"] else "\n".join(integer_modules(array).values())
    job = StreamJob(
        f"{design.name}: {layer.name}",
        verilog,
        design.top,
        (
            Stream("s_axis_weights", array.weight_word_bits, words, ends),
            Stream("s_axis_activations", array.activation_word_bits, stream, stream_ends, user),
        ),
        Stream("m_axis_results", array.columns * array.result_bits, results, result_ends),
        Disturbance(**(disturbance or {})),
        watch="fault",
        bits=FAULTS,
        held={"select": array.select(layer.operator)},
    )
    return LayerStreams(job, schedule, integer_clocks(array, schedule), array.rows * array.columns)


@checked("simulate")
def simulate_integer_engine(
    folder: Path,
    design: IntegerDesign,
    simulator: str = "verilator",
    *,
    layer: str | None = None,
    vectors: int = MOST_VECTORS,
    columns: int | None = None,
    pause: float = 0.0,
    hold: tuple[int, int] | None = None,
    reset_at: int | None = None,
    seed: int = 1,
    timeout: float = 600.0,
) -> EngineVerdict:
    """Stream *layer* (name or number; the first that was kept by default) through the engine in *folder*.

    Options and errors as of :func:`approxhw.engine.matrix.simulate.simulate_engine`.
    """
    check_streaming(simulator, seed=seed, pause=pause, timeout=timeout)
    refuse_below("simulate", 1, vectors=vectors, columns=columns)
    return stream_layer(
        folder,
        design,
        simulator,
        lambda chosen, how: integer_layer_job(design, chosen, vectors=vectors, columns=columns, disturbance=how),
        layer=layer,
        pause=pause,
        hold=hold,
        reset_at=reset_at,
        seed=seed,
        timeout=timeout,
    )
