"""Local refinement of one genome: drop what is not needed, one thing at a time, until nothing more drops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import OptionError, Problem

from .space import Space, canonical

if TYPE_CHECKING:
    from approxhw.networks.kernels.masked_network import PackedRows
    from approxhw.networks.kernels.moves import WalkState

Area = Callable[[np.ndarray], np.ndarray]
"""Genomes (int32, P × G) → area in mm² (float64, P)."""

KINDS = ("input", "neuron", "summand", "bit", "exponent", "bias", "shift", "comparator")
"""What a move drops: an input or a hidden neuron wherever it is read, a summand, a bit of a mask, one of an exponent,
bits of a bias, one more bit by a shift, a bit that a comparator looks at."""

MOST_LOOKED_AT, FEWEST_LOOKED_AT = 20_000_000, 500
"""Genes of all genomes that a round looks at, at most, and moves at least: 10 000 moves of a network of 2000 genes."""

MOST_ROUNDS = 12
"""Rounds of so many moves that a walk has: more, where its rounds have fewer."""

_TOGETHER = 1024  # genomes that are estimated together: a copy of the genome for each
_SAME = 1e-9  # areas in mm² that differ by less are the same


@dataclass(frozen=True, eq=False)
class Refined:
    """A genome that nothing more drops from."""

    genome: np.ndarray
    errors: int
    """Rows of the wrong class."""
    area_mm2: float
    moves: int
    """Moves that were kept."""
    tried: int
    """Moves whose errors were counted."""


@dataclass(frozen=True, eq=False)
class RefiningWalk:
    """A refinement on its way, round by round: whoever has it can go on, on any machine, to the very same end."""

    genome: np.ndarray
    allowed: int
    """Rows that may be wrong."""
    kept: int = 0
    tried: int = 0
    planned: tuple[int, ...] = ()
    """Moves that each round planned: what the generator has drawn so far follows from these."""
    done: bool = False


def begin_walk(space: Space, genome: np.ndarray, rows: PackedRows, allowed: int | None = None) -> RefiningWalk:
    """Return the refinement of *genome* before its first round; arguments as :func:`refine` has them."""
    from approxhw.networks.kernels.masked_network import count_errors

    plain = canonical(space, genome[None])[0]
    if allowed is None:
        allowed = int(count_errors(space.layout, space.head, plain[None], rows)[0])
    return RefiningWalk(plain, allowed)


def refine(
    space: Space,
    genome: np.ndarray,
    rows: PackedRows,
    area: Area,
    *,
    allowed: int | None = None,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
) -> Refined:
    """Return *genome* after every move that neither takes errors above *allowed* nor makes the circuit larger.

    ``rows``: codes and labels, of ``approxhw.networks.kernels.masked_network.pack_rows``. ``allowed``: rows that may be wrong; as
    many as now by default. The greatest saving of area is tried first; equal ones come in an order drawn from *seed*.
    Where a move drops part of a sum, it is also tried with the mean of that part added to the bias.
    Deterministic; raises :class:`OptionError` for an unknown kind.
    """
    walk = begin_walk(space, genome, rows, allowed)
    while not walk.done:
        walk = refine_round(space, walk, rows, area, kinds=kinds, seed=seed)
    errors = begin_walk(space, walk.genome, rows).allowed
    return Refined(walk.genome, errors, _worth(space, walk.genome, area)[0], walk.kept, walk.tried)


def refine_round(
    space: Space, walk: RefiningWalk, rows: PackedRows, area: Area, *, kinds: Sequence[str] = KINDS, seed: int = 0
) -> RefiningWalk:
    """Return *walk* after one more round: the moves from its genome planned, and tried one after the other.

    A network of many genes has too many moves to look at all of them: ``MOST_LOOKED_AT`` genes of genomes are, drawn anew
    in every round. A walk ends where nothing more drops, and where it has looked at as many moves as ``MOST_ROUNDS`` of these
    have: a bound on work, not on time, so that the same walk ends the same everywhere.
    """
    from approxhw.networks.kernels import moves

    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        why = f"there is no kind of move called {', '.join(unknown)}; there are {', '.join(KINDS)}"
        raise OptionError("refine", [Problem("kinds", why)])
    most = max(FEWEST_LOOKED_AT, MOST_LOOKED_AT // space.genes)
    rng = np.random.default_rng(seed)
    for count in walk.planned:
        _order(rng, count, most)
    state = moves.start_walk(space.layout, space.head, walk.genome, rows)
    limit, kept, tried = np.int64(walk.allowed), walk.kept, walk.tried
    now = _worth(space, state.genome, area)
    genes, values = _moves(space, state, kinds)
    planned = len(genes)
    order = _order(rng, planned, most)
    genes, values = _promising(state.genome, genes, values, area, now[0], order)
    position = 0
    while position < len(genes):
        candidate = state.genome.copy()
        position, loss = moves.next_fit(state, candidate, genes, values, position, limit)
        if loss < 0:
            break
        tidy = canonical(space, candidate[None])[0]
        worth = _worth(space, tidy, area)
        if worth < now:
            moves.keep(state, candidate)
            if not np.array_equal(tidy, candidate):  # neurons that nothing reads any more
                moves.attempt(state, tidy, state.genome, False, moves.NO_LIMIT)
                moves.keep(state, tidy)
            now, kept = worth, kept + 1
            tried += position + 1
            # what else was planned for these genes was planned from what they were
            used = np.isin(genes, genes[position][genes[position] >= 0]).any(axis=1)
            rest = np.flatnonzero(~used & (np.arange(len(genes)) > position))
            genes, values, position = genes[rest], values[rest], 0
        else:
            position += 1
    looked = sum(min(count, most) for count in (*walk.planned, planned))
    done = looked >= MOST_ROUNDS * most or (planned <= most and kept == walk.kept)
    return RefiningWalk(state.genome.copy(), walk.allowed, kept, tried + len(genes), (*walk.planned, planned), done)


def _order(rng: np.random.Generator, count: int, most: int) -> np.ndarray:
    """Return the numbers of *count* moves in an order drawn from *rng*, *most* of them where there are more."""
    if count <= most:
        return rng.permutation(count)
    return rng.choice(count, most, replace=False)


def _worth(space: Space, genome: np.ndarray, area: Area) -> tuple[float, int]:
    """Return area, and how much stands in the genome: what a move must make less, in this order."""
    count = 0
    for index in range(len(space.layers)):
        genes = space.layer_genes(genome[None], index)
        count += int(np.bitwise_count(genes.masks).sum() + np.bitwise_count(genes.biases).sum())
        count += int((genes.exponents * (genes.masks != 0)).sum())
    count += int(np.bitwise_count(space.comparators(genome[None])).sum())
    return round(float(area(genome[None])[0]) / _SAME) * _SAME, count


def _promising(
    genome: np.ndarray, genes: np.ndarray, values: np.ndarray, area: Area, now: float, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return those moves of *order* that do not make the circuit larger, the greatest saving first, equal ones as they come."""
    areas = np.zeros(len(order))
    for start in range(0, len(order), _TOGETHER):
        part = order[start : start + _TOGETHER]
        genomes = np.repeat(genome[None], len(part), axis=0)
        for k in range(genes.shape[1]):
            there = genes[part, k] >= 0
            genomes[there, genes[part, k][there]] = values[part, k][there]
        areas[start : start + len(part)] = area(genomes)
    by_area = np.argsort(areas, kind="stable")
    order = order[by_area][areas[by_area] <= now + _SAME]
    return np.ascontiguousarray(genes[order]), np.ascontiguousarray(values[order])


def _moves(space: Space, state: WalkState, kinds: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the moves from the genome of *state*: genes (moves × K, −1: none) and their new values (int32)."""
    found: list[list[tuple[int, int]]] = []
    genome = state.genome
    neurons = np.concatenate([[0], np.cumsum(space.layout[:, 1])])
    for index in range(len(space.layers)):
        n, m, _, mask0, sign0, exponent0, bias0, shift, _ = space.layout[index].tolist()
        columns = state.columns if index == 0 else state.acts[neurons[index - 1] : neurons[index]]
        means = _Means(columns)
        masks = genome[mask0 : mask0 + m * n].reshape(m, n)
        for i in np.flatnonzero(masks.any(axis=0)).tolist():
            if ("input" if index == 0 else "neuron") in kinds:
                found.append([(mask0 + o * n + i, 0) for o in np.flatnonzero(masks[:, i]).tolist()])
        for o, i in np.argwhere(masks).tolist():
            gene, mask, exponent = mask0 + o * n + i, int(masks[o, i]), int(genome[exponent0 + o * n + i])
            bias, sign = bias0 + o, -1 if genome[sign0 + o * n + i] else 1
            dropped = [mask] if "summand" in kinds else []
            if "bit" in kinds:
                dropped += [1 << b for b in range(mask.bit_length()) if mask >> b & 1 and mask != 1 << b]
            for bits in dropped:
                found.append([(gene, mask & ~bits)])
                moved = int(genome[bias]) + sign * round(means.of(i, bits) * (1 << exponent))
                if moved != genome[bias] and space.lower[bias] <= moved <= space.upper[bias]:
                    found.append([(gene, mask & ~bits), (bias, moved)])
            if "exponent" in kinds and exponent:
                found.append([(exponent0 + o * n + i, exponent - 1)])
        if "bias" in kinds:
            for o in range(m):
                found += [[(bias0 + o, value)] for value in _shorter(int(genome[bias0 + o]))]
        if "shift" in kinds and shift >= 0 and genome[shift] < space.upper[shift] and masks.any():
            found.append([(shift, int(genome[shift]) + 1)])
    if "comparator" in kinds:
        start = int(space.head[1])
        for c, seen in enumerate(space.comparators(genome[None])[0].tolist()):
            found += [[(start + c, seen & ~(1 << p))] for p in range(space.width) if seen >> p & 1]
    most = max(map(len, found), default=1)
    padded = [[*move, *[(-1, 0)] * (most - len(move))] for move in found]
    array = np.array(padded, dtype=np.int64).reshape(len(found), most, 2)
    return np.ascontiguousarray(array[..., 0]), array[..., 1].astype(np.int32)


def _shorter(bias: int) -> list[int]:
    """Return biases of fewer bits: 0, one bit less, and all low bits less."""
    size, sign = abs(bias), -1 if bias < 0 else 1
    nearby = {0} | {size & ~(1 << b) for b in range(size.bit_length()) if size >> b & 1}
    nearby |= {size >> b << b for b in range(1, size.bit_length())}
    return sorted({sign * value for value in nearby} - {bias})


class _Means:
    """Mean of x & bits over the rows, by column, worked out from the means of single bits on first use."""

    def __init__(self, columns: np.ndarray) -> None:
        self._columns = columns
        self._known: dict[tuple[int, int], float] = {}

    def of(self, column: int, bits: int) -> float:
        """Return the mean of column & *bits*."""
        key = (column, bits)
        if key not in self._known:
            values = self._columns[column] & bits
            self._known[key] = float(values.mean()) if len(values) else 0.0
        return self._known[key]
