"""Gate-level removal: a netlist gets smaller by moves that rows allow, and rows that no move sees say when to stop.

The rows that moves are chosen by are a care set: what a gate does on codes that no row has is free. So it fits them. Moves are
taken by the area that they free, never by errors that they win: what counts are rows that the circuit got right and loses, and
rows that it got wrong are free. Rows set aside judge the whole, by their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .gates import AND, ARITIES, CONSTANTS, FUNCTIONS, NAND, NOR, NOT, OR, GateList, MappedGates

COPY, ZERO, ONE = range(len(FUNCTIONS), len(FUNCTIONS) + 3)
STAGES = 8
"""Parts in which the allowed errors are given away: what costs least goes first."""

ROUNDS = 12
"""Rounds of moves between two mappings, at most."""

ENOUGH = 0.75
"""A netlist that has shrunk to this share is mapped again."""

LEAST_GAIN = 0.002
"""A round that frees less than this share of the area is the last one of its stage."""

MOST_MAPPINGS = 24
SAMPLE_WORDS = 64
"""Words of rows by which signals that agree are looked for."""

MOST_SOURCES = 4096
"""Signals that are looked at for one that agrees; of more, so many are drawn."""

MOST_WORDS = 1 << 26
"""Words of all planes together: rows are fewer where gates are many."""


@dataclass(frozen=True)
class CareRows:
    """Rows as codes (int64, rows × elements) with their class indices: those that moves are chosen by, and those set aside."""

    codes: np.ndarray
    labels: np.ndarray
    aside_codes: np.ndarray
    aside_labels: np.ndarray


@dataclass(frozen=True)
class Removed:
    """What removal came to.

    ``right``: rows seen that the circuit got right, ``lost``: those of them that the netlist gets wrong. ``aside_wrong``: rows
    set aside that it gets wrong, before and after.
    """

    mapped: MappedGates
    right: int
    lost: int
    aside_wrong: tuple[int, int]
    moves: int
    mappings: int


def care_rows(
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    aside: float,
    copies: int,
    noise: float,
    high: int,
    most: int,
    rng: np.random.Generator,
) -> CareRows:
    """Return *codes* and *labels*, a share set *aside*, and of the others *copies*, each code one off with chance *noise*.

    *high*: the greatest code. Equal rows stay together: none set aside is a copy of one that moves see. At most *most* rows are
    taken.
    """
    if len(codes) > most:
        chosen = np.sort(rng.permutation(len(codes))[:most])
        codes, labels = codes[chosen], labels[chosen]
    _, group = np.unique(codes, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = rng.permutation(group.max() + 1)
    sizes = np.bincount(group)[order]
    apart = order[np.cumsum(sizes) <= aside * len(codes)]
    held = np.isin(group, apart)
    seen, seen_labels = codes[~held], labels[~held]
    return CareRows(*_with_copies(seen, seen_labels, copies, noise, high, rng), codes[held], labels[held])


def _with_copies(
    codes: np.ndarray, labels: np.ndarray, copies: int, noise: float, high: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    several = [codes]
    for _ in range(copies):
        steps = rng.choice([-1, 1], codes.shape) * (rng.random(codes.shape) < noise)
        several.append(np.clip(codes + steps, 0, high))
    return np.concatenate(several), np.tile(labels, copies + 1)


@dataclass(frozen=True, eq=False)
class RowPlanes:
    """Rows as planes of bits, 64 rows a word: what moves are chosen by, and behind it what is set aside.

    ``inputs``: planes of the constants and the input bits (uint64, signals × words). ``wanted``: what the outputs are to be
    (outputs × words). ``mask``: bits that are rows. ``width``: words that moves are chosen by.
    """

    inputs: np.ndarray
    wanted: np.ndarray
    mask: np.ndarray
    width: int


def planes_of_rows(gates: GateList, rows: CareRows, bits: int) -> RowPlanes:
    """Return *rows* as planes for circuits with the inputs and outputs of *gates*; *bits*: of an element."""
    from .kernels.gate_words import load_planes

    width, more = ((len(each) + 63) // 64 for each in (rows.codes, rows.aside_codes))
    inputs = np.zeros((gates.first, width + more), dtype=np.uint64)
    wanted = np.zeros((len(gates.outputs), width + more), dtype=np.uint64)
    mask = np.zeros(width + more, dtype=np.uint64)
    for codes, labels, start, stop in (
        (rows.codes, rows.labels, 0, width),
        (rows.aside_codes, rows.aside_labels, width, width + more),
    ):
        part = np.zeros((gates.first, stop - start), dtype=np.uint64)
        if stop > start:
            load_planes(np.ascontiguousarray(codes, dtype=np.int64), 0, len(codes), bits, part)
        inputs[:, start:stop] = part
        places = np.arange(len(codes))
        for output in range(len(gates.outputs)):
            bit = (labels.astype(np.uint64) >> np.uint64(output) & np.uint64(1)) << (places % 64).astype(np.uint64)
            np.bitwise_or.at(wanted[output, start:stop], places // 64, bit)
        np.bitwise_or.at(mask[start:stop], places // 64, np.uint64(1) << (places % 64).astype(np.uint64))
    return RowPlanes(inputs, wanted, mask, width)


def signal_planes(gates: GateList, inputs: np.ndarray) -> np.ndarray:
    """Return the planes of all signals of *gates* (signals × words), given those of constants and *inputs*."""
    from .kernels.gate_words import run_planes

    planes = np.zeros((gates.first + len(gates.functions), inputs.shape[1]), dtype=np.uint64)
    planes[: gates.first] = inputs
    run_planes(gates.functions.copy(), gates.operands.copy(), gates.first, planes, planes.shape[1])
    return planes


@dataclass
class _State:
    """A netlist that is being changed, with the planes of all its signals."""

    gates: GateList
    functions: np.ndarray
    operands: np.ndarray
    outputs: np.ndarray
    planes: np.ndarray


def _loaded(gates: GateList, rows: RowPlanes) -> _State:
    """Return *gates* as a netlist that may be changed, with the planes of all signals."""
    functions, operands, outputs = gates.functions.copy(), gates.operands.copy(), gates.outputs.copy()
    return _State(gates, functions, operands, outputs, signal_planes(gates, rows.inputs))


def compacted(inputs: int, functions: np.ndarray, operands: np.ndarray, outputs: np.ndarray) -> GateList:
    """Return the simplified netlist without the gates that nothing reads, renumbered."""
    first = CONSTANTS + inputs
    live = np.zeros(first + len(functions), dtype=bool)
    live[outputs] = True
    for g in range(len(functions) - 1, -1, -1):
        if live[first + g]:
            live[operands[g]] = True
    live[:first] = True
    numbers = np.cumsum(live) - 1
    kept = live[first:]
    return GateList(inputs, functions[kept], numbers[operands[kept]], numbers[outputs])


def remove_gates(
    mapped: MappedGates,
    rows: CareRows,
    bits: int,
    remap: Callable[[GateList], MappedGates],
    *,
    max_loss: float,
    candidates: int,
    rng: np.random.Generator,
    on_stage: Callable[[int, int], None] | None = None,
) -> Removed:
    """Return a smaller netlist than *mapped* that loses at most *max_loss* (a share) of the rows seen, and of those set aside.

    It is *mapped* itself where there is none. *bits*: of an element. *remap*: synthesises a netlist to an equal, smaller one.
    *candidates*: signals that are tried in the place of each, besides constants. *on_stage*: hears how many stages are done, of
    how many.
    """
    return removed_along(
        mapped, rows, bits, remap, losses=(max_loss,), candidates=candidates, rng=rng, on_stage=on_stage
    )[0]


def removed_along(
    mapped: MappedGates,
    rows: CareRows,
    bits: int,
    remap: Callable[[GateList], MappedGates],
    *,
    losses: Sequence[float],
    candidates: int,
    rng: np.random.Generator,
    on_stage: Callable[[int, int], None] | None = None,
) -> list[Removed]:
    """Return what :func:`remove_gates` comes to within each of *losses* (shares, rising), all on one way.

    Each goes on from the smallest netlist of the one before, so that what comes of a loss does not depend on those behind it.
    """
    most = max(1, MOST_WORDS // (mapped.gates.first + len(mapped.gates.functions))) * 64
    rows = CareRows(rows.codes[:most], rows.labels[:most], rows.aside_codes[:most], rows.aside_labels[:most])
    removal = Removal(mapped, planes_of_rows(mapped.gates, rows, bits), remap, candidates, rng)
    stages = -(-STAGES // len(losses))
    return [removal.within(loss * len(rows.codes), loss * len(rows.aside_codes), stages, on_stage) for loss in losses]


class Removal:
    """One removal: the netlist as it is, and the smallest one so far whose rows set aside are right enough.

    *sources*: the input bits, as signals, that gates may become (all, by default). *pairs*: whether two signals that make a
    third one are looked for, too.
    """

    def __init__(
        self,
        mapped: MappedGates,
        rows: RowPlanes,
        remap: Callable[[GateList], MappedGates],
        candidates: int,
        rng: np.random.Generator,
        *,
        sources: np.ndarray | None = None,
        pairs: bool = False,
    ) -> None:
        self.rows, self.remap, self.candidates, self.rng, self.pairs = rows, remap, candidates, rng, pairs
        self.sources = np.arange(CONSTANTS, mapped.gates.first) if sources is None else sources
        self.areas = np.array([*mapped.function_areas, 0.0, 0.0, 0.0])
        self.best = mapped
        self.state = state = _loaded(mapped.gates, rows)
        wrong = np.bitwise_or.reduce(state.planes[state.outputs] ^ rows.wanted, axis=0)
        self.mask = rows.mask.copy()
        self.mask[: rows.width] &= ~wrong[: rows.width]
        self.right = int(np.bitwise_count(self.mask[: rows.width]).sum())
        self.before = self._wrong()[1]
        self.now = (0, self.before)
        self.allowed = 0.0
        self.aside_limit = self.before
        self.moves = self.mappings = self.mapped_before = 0

    def _wrong(self) -> tuple[int, int]:
        """Return how many rows seen are lost, and how many set aside are wrong."""
        from .kernels.removal import count_wrong

        state, words = self.state, self.state.planes.shape[1]
        given = (state.outputs, self.rows.wanted, self.mask, state.planes)
        return count_wrong(*given, 0, self.rows.width), count_wrong(*given, self.rows.width, words)

    def within(
        self, lost: float = 0.0, lost_aside: float = 0.0, parts: int = STAGES,
        on_stage: Callable[[int, int], None] | None = None,
    ) -> Removed:  # fmt: skip
        """Return the smallest netlist that loses at most *lost* rows seen, and *lost_aside* of those set aside.

        It goes on from the smallest one so far; rows are given away in *parts* stages, unless rows set aside have lost too much
        before. *on_stage* hears of each.
        """
        if self.moves:  # what was tried beyond the last bound is no way to go on
            self.state = _loaded(self.best.gates, self.rows)
        given, self.allowed, self.mapped_before = self.allowed, lost, self.mappings
        self.aside_limit = int(self.before + lost_aside)
        stages = parts + 1 if lost >= 1 else 1
        for stage in range(stages):
            if on_stage:
                on_stage(stage, stages)
            if not self._stage(int(given + (lost - given) * stage / parts)):
                break
        if on_stage:
            on_stage(stages, stages)
        return Removed(self.best, self.right, self.now[0], (self.before, self.now[1]), self.moves, self.mappings)

    def _stage(self, limit: int) -> bool:
        """Take moves while they free anything with at most *limit* rows lost; return whether to go on."""
        while True:
            gates, within, small = self._rounds(limit)
            if gates is not None:
                self._map(gates)
            if not within or self.mappings - self.mapped_before >= MOST_MAPPINGS:
                return False
            if small or gates is None:
                return True

    def _map(self, gates: GateList) -> None:
        """Map *gates* again and go on from them; keep them where they are the smallest so far."""
        mapped = self.remap(gates)
        self.mappings += 1
        self.state = _loaded(mapped.gates, self.rows)
        wrong = self._wrong()
        if mapped.area_mm2 < self.best.area_mm2 and wrong[1] <= self.aside_limit:
            self.best, self.now = mapped, wrong

    def _rounds(self, limit: int) -> tuple[GateList | None, bool, bool]:
        """Return the best netlist of some rounds (None: none is better), whether rows aside allow more, and if gains end."""
        from .kernels.removal import simplify, take_moves

        state, first = self.state, self.state.gates.first
        alias, live = np.empty(len(state.planes), np.int32), np.empty(len(state.planes), np.bool_)
        start = simplify(state.functions, state.operands, state.outputs, first, self.areas, alias, live)
        best = state.functions.copy(), state.operands.copy(), state.outputs.copy()
        figures = np.array([start, *self._wrong(), start], dtype=np.float64)
        limits = np.array([limit, self.aside_limit], dtype=np.int64)
        small, within = False, True
        for _ in range(ROUNDS):
            area = figures[0]
            self.moves += take_moves(
                self._ordered_moves(live, limit), state.functions, state.operands, state.outputs, first, state.planes,
                self.rows.wanted, self.mask, self.rows.width, self.areas, limits, 1e-9, ENOUGH * start, *best, figures,
            )  # fmt: skip
            small, within = area - figures[0] < LEAST_GAIN * area, bool(figures[2] <= self.aside_limit)
            if small or not within or figures[0] <= ENOUGH * start:
                break
            simplify(state.functions, state.operands, state.outputs, first, self.areas, alias, live)
        better = figures[3] < start - 1e-9
        return (compacted(state.gates.inputs, *best) if better else None), within, small

    def _ordered_moves(self, live: np.ndarray, limit: int) -> np.ndarray:
        """Return the moves that alone free area with at most *limit* rows lost, what frees most first."""
        from .kernels.removal import try_moves

        state = self.state
        moves = self._moves(live)
        errors, freed = np.zeros(len(moves), np.int64), np.zeros(len(moves))
        try_moves(
            moves, state.functions, state.operands, state.outputs, state.gates.first, live, state.planes, self.rows.wanted,
            self.mask, self.rows.width, self.areas, limit, errors, freed,
        )  # fmt: skip
        order = np.lexsort((np.arange(len(moves)), errors, -np.round(freed, 9)))
        return moves[order[freed[order] > 1e-9]]

    def _moves(self, live: np.ndarray) -> np.ndarray:
        """Return every move that is tried: (gate, function, first operand, second operand), int64."""
        from .kernels.removal import agreeing_signals

        state, first = self.state, self.state.gates.first
        gates = np.flatnonzero(live[first:])
        sources = np.union1d(first + gates, self.sources)
        if len(sources) > MOST_SOURCES:
            sources = np.sort(self.rng.permutation(sources)[:MOST_SOURCES])
        words = np.arange(0, self.rows.width, max(1, self.rows.width // SAMPLE_WORDS))[:SAMPLE_WORDS]
        near = np.zeros((len(gates), self.candidates, 2), dtype=np.int64)
        agreeing_signals(gates, sources, first, state.planes, words, near)
        none = np.zeros(len(gates), dtype=np.int64)

        def moves(function: int | np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.stack([gates, none + function, a, b], axis=1)

        several = [moves(function, none, none) for function in (ZERO, ONE)]
        several += [moves(np.where(each[:, 1] == 1, NOT, COPY), each[:, 0], none) for each in near.transpose(1, 0, 2)]
        functions, operands = state.functions[gates], state.operands[gates].astype(np.int64)
        arities = np.array(ARITIES)[functions]
        for place in range(3):
            several.append(moves(COPY, operands[:, place], none)[arities > place])
            several.append(moves(NOT, operands[:, place], none)[(arities > place) & (functions != NOT)])
        for function in (AND, OR, NAND, NOR):
            cheaper = (arities == 2) & (self.areas[function] < self.areas[functions])
            several.append(moves(function, operands[:, 0], operands[:, 1])[cheaper])
        return np.concatenate([*several, self._pairs(gates, sources)] if self.pairs else several)

    def _pairs(self, gates: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Return the moves that make a gate of two signals that exist, and change no signal on the rows seen."""
        from .kernels.resubstitution import MOST_PAIRS, covering_pairs

        found = np.zeros((MOST_PAIRS * len(gates), 4), dtype=np.int64)
        given = gates, sources, self.state.gates.first, self.state.planes, self.rows.width
        return found[: covering_pairs(*given, found)]
