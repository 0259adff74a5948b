"""Stream a real layer of the model through the engine's Verilog on a simulator, and compare every bit with the kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from approxhw.artifacts.engine import EngineDesign, LayerInfo
from approxhw.common.arguments import checked
from approxhw.common.errors import OptionError, Problem
from approxhw.common.options import Keywords

from ..kept_verdicts import MOST_VECTORS, EngineVerdict, LayerStreams, check_streaming, operands_file, stream_layer
from .cost import engine_of


def layer_job(
    design: EngineDesign,
    layer: LayerInfo,
    *,
    vectors: int = MOST_VECTORS,
    columns: int | None = None,
    disturbance: Keywords | None = None,
) -> LayerStreams:
    """Return the streams of *layer* on the engine of *design*: the first *vectors* rows of its activations, all its weights.

    ``columns``: of the weights at most; all by default.
    """
    from approxhw.backends.matrix_engine.engine import (
        CODED_FAULTS,
        activation_words,
        busy_clocks,
        result_words,
        weight_words,
    )
    from approxhw.backends.systolic.schedule import make_schedule
    from approxhw.numerics.mac.kernels.codes import from_codes
    from approxhw.numerics.mac.kernels.gemm import matmul
    from approxhw.sim.streams import Disturbance, Stream, StreamJob

    file = operands_file(layer)
    engine = engine_of(design)
    a, b = design.operands[file]
    a, b = np.ascontiguousarray(a[:vectors]), np.ascontiguousarray(b[:, :columns])
    schedule = make_schedule(engine, len(a), *b.shape)
    left, right = from_codes(a, engine.mac.format), from_codes(b, engine.mac.format)
    product = matmul(left, right, engine.mac, result=engine.result)
    special = ~np.isfinite(left).all(axis=1)
    packed_a, packed_b = design.packed.get(file, (None, None))
    weights, weight_ends = weight_words(engine, schedule, b if packed_b is None else packed_b.first(columns))
    words, ends, user = activation_words(engine, schedule, a if packed_a is None else packed_a.first(vectors))
    results, result_ends = result_words(engine, schedule, product, special)
    job = StreamJob(
        f"{design.name}: {layer.name}",
        design.verilog,
        engine.top,
        (
            Stream("s_axis_weights", engine.weight_word_bits, weights, weight_ends),
            Stream("s_axis_activations", engine.activation_word_bits, words, ends, user),
        ),
        Stream("m_axis_results", engine.columns * engine.result_bits, results, result_ends),
        Disturbance(**(disturbance or {})),
        watch="fault",
        bits=CODED_FAULTS,
    )
    return LayerStreams(job, schedule, busy_clocks(engine, schedule), engine.rows * engine.columns)


@checked("simulate")
def simulate_engine(
    folder: Path,
    design: EngineDesign,
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

    ``vectors``: rows of its activations at most, ``columns``: of its weights. ``pause``: probability that a stream rests
    in a clock; ``hold``: (clock, clocks) in which no result is taken; ``reset_at``: a clock in which everything is reset
    and begun again; ``seed`` of the pauses. ``timeout``: seconds for all of it. The verdict is kept in
    ``simulation/``. Raises :class:`~approxhw.common.errors.MismatchError` and the tool errors.
    """
    check_streaming(simulator, seed=seed, pause=pause, timeout=timeout)
    if found := [
        Problem(name, f"{count} is too few", "give 1 or more")
        for name, count in (("vectors", vectors), ("columns", columns))
        if count is not None and count < 1
    ]:
        raise OptionError("simulate", found)
    return stream_layer(
        folder,
        design,
        simulator,
        lambda chosen, how: layer_job(design, chosen, vectors=vectors, columns=columns, disturbance=how),
        layer=layer,
        pause=pause,
        hold=hold,
        reset_at=reset_at,
        seed=seed,
        timeout=timeout,
    )
