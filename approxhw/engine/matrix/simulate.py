"""Stream a real layer of the model through the engine's Verilog on a simulator, and compare every bit with the kernel."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.engine import EngineDesign, LayerInfo
from approxhw.artifacts.folder import Plain, as_json, json_text, place_in, read_json, record_of
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.files import write_beside
from approxhw.common.options import Keywords
from approxhw.common.tools import deadline

from .cost import engine_of

if TYPE_CHECKING:
    from approxhw.backends.matrix_engine.engine import Engine
    from approxhw.backends.systolic.schedule import Schedule
    from approxhw.sim.streams import StreamJob

MOST_VECTORS = 64
"""Rows of a layer's activations that are streamed, where nothing else is asked for."""


@dataclass(frozen=True)
class EngineVerdict:
    """What a simulator said of a layer on the engine.

    ``vectors``: results compared, numbers of the product and not words. ``clocks``: from reset to the last result;
    ``least_clocks``: the fewest that the schedule takes. ``utilisation``: share of the array's multiply-adds, over all
    clocks, that are the layer's. ``stalled``: clocks in which a stream's word was not taken.
    """

    simulator: str
    layer: str
    m: int
    k: int
    n: int
    tiles: int
    words: int
    vectors: int
    mismatches: int
    clocks: int
    least_clocks: int
    utilisation: float
    stalled: Mapping[str, int]
    pause: float
    seconds: Mapping[str, float]
    mismatch_file: str | None


def layer_job(
    design: EngineDesign,
    layer: LayerInfo,
    *,
    vectors: int = MOST_VECTORS,
    columns: int | None = None,
    disturbance: Keywords | None = None,
) -> tuple[StreamJob, Engine, Schedule]:
    """Return the streams of *layer* on the engine of *design*: the first *vectors* rows of its activations, all its weights.

    ``columns``: of the weights at most; all by default.
    """
    from approxhw.backends.matrix_engine.engine import CODED_FAULTS, activation_words, result_words, weight_words
    from approxhw.backends.systolic.schedule import make_schedule
    from approxhw.numerics.mac.kernels.codes import from_codes
    from approxhw.numerics.mac.kernels.gemm import matmul
    from approxhw.sim.streams import Disturbance, Stream, StreamJob

    if layer.operands is None:
        why = f"the operands of {shown(layer.name, 60)} were not kept"
        raise OptionError("simulate", [Problem("layer", why, "compile the model with --data")])
    engine = engine_of(design)
    a, b = design.operands[layer.operands]
    a, b = np.ascontiguousarray(a[:vectors]), np.ascontiguousarray(b[:, :columns])
    schedule = make_schedule(engine, len(a), *b.shape)
    left, right = from_codes(a, engine.mac.format), from_codes(b, engine.mac.format)
    product = matmul(left, right, engine.mac, result=engine.result)
    special = ~np.isfinite(left).all(axis=1)
    packed_a, packed_b = design.packed.get(layer.operands, (None, None))
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
    return job, engine, schedule


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
    from approxhw.backends.matrix_engine.engine import busy_clocks
    from approxhw.sim.simulators.registry import simulator_named
    from approxhw.sim.streams import simulate_streams

    simulator_named(simulator)  # before a folder is called by that name
    refuse_below("simulate", 0, seed=seed, pause=pause)
    refuse_below("simulate", 0, above=True, timeout=timeout)
    if found := [
        Problem(name, f"{count} is too few", "give 1 or more")
        for name, count in (("vectors", vectors), ("columns", columns))
        if count is not None and count < 1
    ]:
        raise OptionError("simulate", found)
    kept = [each for each in design.layers if each.operands]
    if not kept:
        why = "no operands of a layer were kept"
        raise InvalidDesignError(str(folder), [Problem("operands", why, "compile the model with --data")])
    chosen = kept[0] if layer is None else design.layer(layer)
    how = {"pause": pause, "hold": hold, "reset_at": reset_at, "seed": seed}
    with deadline(timeout):
        job, engine, schedule = layer_job(design, chosen, vectors=vectors, columns=columns, disturbance=how)
        place = place_in(folder, f"simulation/{simulator}-{layer_folder(chosen.name)}")
        result = simulate_streams(job, simulator, place, timeout=timeout)
    verdict = EngineVerdict(
        simulator=simulator,
        layer=chosen.name,
        m=schedule.m,
        k=schedule.k,
        n=schedule.n,
        tiles=len(schedule.tiles),
        words=result.words,
        vectors=schedule.m * schedule.n,
        mismatches=result.mismatches,
        clocks=result.clocks,
        least_clocks=busy_clocks(engine, schedule),
        utilisation=schedule.m * schedule.k * schedule.n / max(1, result.clocks * engine.rows * engine.columns),
        stalled=result.stalled,
        pause=pause,
        seconds=result.seconds,
        mismatch_file=None if result.mismatch_file is None else str(result.mismatch_file),
    )
    write_beside(place / "verdict.json", json_text(verdict))
    result.raise_on_mismatch()
    return verdict


def engine_verdicts(folder: Path) -> list[dict[str, Plain]]:
    """Return every verdict of the engine in *folder*."""
    found = []
    for path in sorted((folder / "simulation").glob("*/verdict.json")):
        try:
            found.append(as_json(record_of(read_json(path), EngineVerdict)))
        except (OSError, ValueError) as error:
            why = f"no verdict ({shown(error, 160)})"
            raise InvalidDesignError(str(folder), [Problem(path.name, why, "simulate it again")]) from error
    return found


def layer_folder(name: str) -> str:
    """Return a name for the folder of layer *name*: readable, and no two layers share it."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:40]
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
