"""Stream a real layer of the model through the integer engine's Verilog on a simulator, and compare every bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.folder import Plain, as_json, json_text, place_in, read_json, record_of
from approxhw.artifacts.integer_engine import IntegerDesign, IntegerLayer
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.files import write_beside
from approxhw.common.options import Keywords
from approxhw.common.tools import deadline
from approxhw.engine.matrix.simulate import MOST_VECTORS, EngineVerdict, layer_folder

from .rtl import array_from, constants_of, integer_modules

if TYPE_CHECKING:
    from approxhw.backends.integer_engine.engine import IntegerArray
    from approxhw.backends.systolic.schedule import Schedule
    from approxhw.sim.streams import StreamJob

IntegerVerdict = EngineVerdict
"""What a simulator said of a layer: the same as of the other engine."""


def integer_layer_job(
    design: IntegerDesign,
    layer: IntegerLayer,
    *,
    vectors: int = MOST_VECTORS,
    columns: int | None = None,
    disturbance: Keywords | None = None,
) -> tuple[StreamJob, IntegerArray, Schedule]:
    """Return the streams of *layer* on the engine of *design*: the first *vectors* rows of its activations, all its weights.

    ``columns``: of the weights at most; all by default. A layer that ends in sums goes through the same array with ends that
    pass sums on.
    """
    from approxhw.backends.integer_engine.words import (
        integer_activation_words,
        integer_result_words,
        integer_weight_words,
        padding_of,
    )
    from approxhw.backends.systolic.protocol import FAULTS
    from approxhw.backends.systolic.schedule import make_schedule
    from approxhw.sim.streams import Disturbance, Stream, StreamJob

    if layer.operands is None:
        why = f"the operands of {shown(layer.name, 60)} were not kept"
        raise OptionError("simulate", [Problem("layer", why, "compile the model with --data")])
    array = array_from(design.engine, layer.result)
    arrays = design.operands[layer.operands]
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
    return job, array, schedule


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
) -> IntegerVerdict:
    """Stream *layer* (name or number; the first that was kept by default) through the engine in *folder*.

    Options and errors as of :func:`approxhw.engine.matrix.simulate.simulate_engine`.
    """
    from approxhw.backends.integer_engine.words import integer_clocks
    from approxhw.sim.simulators.registry import simulator_named
    from approxhw.sim.streams import simulate_streams

    simulator_named(simulator)  # before a folder is called by that name
    refuse_below("simulate", 0, seed=seed, pause=pause)
    refuse_below("simulate", 0, above=True, timeout=timeout)
    refuse_below("simulate", 1, vectors=vectors, columns=columns)
    kept = [each for each in design.layers if each.operands]
    if not kept:
        why = "no operands of a layer were kept"
        raise InvalidDesignError(str(folder), [Problem("operands", why, "compile the model with --data")])
    chosen = kept[0] if layer is None else design.layer(layer)
    how = {"pause": pause, "hold": hold, "reset_at": reset_at, "seed": seed}
    with deadline(timeout):
        job, array, schedule = integer_layer_job(design, chosen, vectors=vectors, columns=columns, disturbance=how)
        place = place_in(folder, f"simulation/{simulator}-{layer_folder(chosen.name)}")
        result = simulate_streams(job, simulator, place, timeout=timeout)
    verdict = IntegerVerdict(
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
        least_clocks=integer_clocks(array, schedule),
        utilisation=schedule.m * schedule.k * schedule.n / max(1, result.clocks * array.rows * array.columns),
        stalled=result.stalled,
        pause=pause,
        seconds=result.seconds,
        mismatch_file=None if result.mismatch_file is None else str(result.mismatch_file),
    )
    write_beside(place / "verdict.json", json_text(verdict))
    result.raise_on_mismatch()
    return verdict


def integer_verdicts(folder: Path) -> list[dict[str, Plain]]:
    """Return every verdict of the engine in *folder*."""
    found = []
    for path in sorted((folder / "simulation").glob("*/verdict.json")):
        try:
            found.append(as_json(record_of(read_json(path), IntegerVerdict)))
        except (OSError, ValueError) as error:
            why = f"no verdict ({shown(error, 160)})"
            raise InvalidDesignError(str(folder), [Problem(path.name, why, "simulate it again")]) from error
    return found
