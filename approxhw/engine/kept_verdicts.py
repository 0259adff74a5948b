"""Stream a kept layer of a model through an engine's Verilog, whatever the engine, and keep what the simulator said of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from approxhw.artifacts.folder import Plain, as_json, json_text, place_in, read_json, record_of
from approxhw.common.arguments import refuse_below
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.files import write_beside
from approxhw.common.options import Keywords
from approxhw.common.tools import deadline

if TYPE_CHECKING:
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


@dataclass(frozen=True, eq=False)
class LayerStreams:
    """What goes through an array of so many ``elements``: the job of a simulator, the schedule, its fewest clocks."""

    job: StreamJob
    schedule: Schedule
    least_clocks: int
    elements: int


class _Layer(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def operands(self) -> str | None: ...


L_co = TypeVar("L_co", bound=_Layer, covariant=True)
L = TypeVar("L", bound=_Layer)


class _Design(Protocol[L_co]):
    @property
    def layers(self) -> Sequence[L_co]: ...
    def layer(self, name: str) -> L_co: ...


def operands_file(layer: _Layer) -> str:
    """Return the file of the operands of *layer*; raise :class:`OptionError` where they were not kept."""
    if layer.operands is None:
        why = f"the operands of {shown(layer.name, 60)} were not kept"
        raise OptionError("simulate", [Problem("layer", why, "compile the model with --data")])
    return layer.operands


def check_streaming(simulator: str, *, seed: int, pause: float, timeout: float) -> None:
    """Raise :class:`OptionError` where there is no such *simulator*, which a folder is called by, or a number is out of range."""
    from approxhw.sim.simulators.registry import simulator_named

    simulator_named(simulator)
    refuse_below("simulate", 0, seed=seed, pause=pause)
    refuse_below("simulate", 0, above=True, timeout=timeout)


def stream_layer(
    folder: Path,
    design: _Design[L],
    simulator: str,
    streams: Callable[[L, Keywords], LayerStreams],
    *,
    layer: str | None,
    pause: float,
    hold: tuple[int, int] | None,
    reset_at: int | None,
    seed: int,
    timeout: float,
) -> EngineVerdict:
    """Stream *layer* (name or number; None: the first that was kept) through the engine in *folder*; keep the verdict.

    ``streams``: what goes through for a layer and how the streams are disturbed. The options as of
    :func:`approxhw.engine.matrix.simulate.simulate_engine`, which has checked them, and so are the errors.
    """
    from approxhw.sim.streams import simulate_streams

    kept = [each for each in design.layers if each.operands]
    if not kept:
        why = "no operands of a layer were kept"
        raise InvalidDesignError(str(folder), [Problem("operands", why, "compile the model with --data")])
    chosen = kept[0] if layer is None else design.layer(layer)
    with deadline(timeout):
        made = streams(chosen, {"pause": pause, "hold": hold, "reset_at": reset_at, "seed": seed})
        place = place_in(folder, f"simulation/{simulator}-{layer_folder(chosen.name)}")
        result = simulate_streams(made.job, simulator, place, timeout=timeout)
    schedule = made.schedule
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
        least_clocks=made.least_clocks,
        utilisation=schedule.m * schedule.k * schedule.n / max(1, result.clocks * made.elements),
        stalled=result.stalled,
        pause=pause,
        seconds=result.seconds,
        mismatch_file=None if result.mismatch_file is None else str(result.mismatch_file),
    )
    write_beside(place / "verdict.json", json_text(verdict))
    result.raise_on_mismatch()
    return verdict


def verdicts_in(folder: Path) -> list[dict[str, Plain]]:
    """Return every verdict of the engine in *folder*, as plain types; raise :class:`InvalidDesignError` for what is none."""
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
