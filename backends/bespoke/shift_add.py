"""Constant multiplication as shared shift-and-add: signed digits of every weight, common pairs of terms built once.

A layer's sums are Σ ±(source << shift). A *source* is an input of the layer or a *shared* sum of two earlier sources. Pairs that
occur in several neurons are taken out greedily, the one that saves most adder cells first, until none saves anything
(after Pasko et al., *A new algorithm for elimination of common subexpressions*, 1999, and Hartley's signed-digit sharing, 1996).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from approxhw.backends.cells.blocks import Word, width_of

from .compression import Columns, adder_counts, compress

HALF_ADDER = 0.55
"""Cost of a half adder in full adders: 1.220 mm² to 2.231 mm² in the printed library, and much the same in silicon."""


MOST_PAIRS = 4_000_000
"""Pairs of terms of a layer that are all looked at: a few seconds. Layers of more share within runs of their inputs."""

FEWEST_TOGETHER = 8
"""Inputs of a run at least."""

CHECKED = 1000
"""Weights of a layer up to which the adders are counted: larger layers save a third, and counting takes its time."""


@dataclass(frozen=True)
class DigitSource:
    """A value with an exact range that terms may read: an input (``pair`` is None) or a shared sum.

    ``pair``: (first, second, shift, sign), the value first + sign · (second << shift); of one source with sign −1 it is
    (second << shift) − first, so that multiples of an unsigned value stay unsigned.
    """

    low: int
    high: int
    pair: tuple[int, int, int, int] | None = None

    @property
    def bits(self) -> int:
        """Width in bits; 0 for a value that is always 0."""
        return width_of(self.low, self.high)

    @property
    def swapped(self) -> bool:
        """Whether the pair is (second << shift) − first."""
        return self.pair is not None and self.pair[0] == self.pair[1] and self.pair[3] < 0


Term = tuple[int, int, int]
"""(source, shift, sign): sign · (source << shift)."""


@dataclass(frozen=True)
class Plan:
    """How a layer's sums are built: ``sources`` (inputs first, then shared sums in order), and each neuron's terms."""

    sources: tuple[DigitSource, ...]
    inputs: int
    neurons: tuple[tuple[Term, ...], ...]


def signed_digits(value: int) -> list[tuple[int, int]]:
    """Return the canonical signed digits of *value* as (shift, sign), lowest first: no two are neighbours."""
    digits, shift = [], 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            digits.append((shift, digit))
            value -= digit
        value >>= 1
        shift += 1
    return digits


def plan_layer(weights: Sequence[Sequence[int]], low: Sequence[int], high: Sequence[int]) -> Plan:
    """Return the plan of Σᵢ w[o,i]·x[i] for weights (neurons × inputs) and exact input ranges.

    A plan of at most ``CHECKED`` weights never needs more adders than the one that shares nothing.
    """
    sources = [DigitSource(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    inputs = len(sources)
    neurons = [
        {(i, shift, sign) for i, w in enumerate(row) if sources[i].bits for shift, sign in signed_digits(int(w))}
        for row in weights
    ]
    alone = Plan(tuple(sources), inputs, tuple(tuple(sorted(terms)) for terms in neurons))
    shared = _without_unused(_shared(sources, neurons))
    # gains are estimates: a neuron that is nothing but a shared sum subtracted, say, pays for its negation
    sure = len(shared.sources) == inputs or sum(map(len, weights)) > CHECKED
    return shared if sure or adders(shared) <= adders(alone) else alone


def _shared(sources: Sequence[DigitSource], neurons: Sequence[set[Term]]) -> Plan:
    """Return a plan that shares what several *neurons* read.

    Every pair of a neuron's terms is looked at, which is their square: where that is more than ``MOST_PAIRS``, the inputs
    are parted into runs of neighbours, and pairs within a run are shared.
    """
    inputs = len(sources)
    pairs = sum(len(terms) * (len(terms) - 1) // 2 for terms in neurons)
    runs = max(1, min(-(-pairs // MOST_PAIRS), -(-inputs // FEWEST_TOGETHER)))
    together, made = list(sources), [list[Term]() for _ in neurons]
    for run in range(runs):
        first, last = run * inputs // runs, (run + 1) * inputs // runs
        mine = [{(s - first, shift, sign) for s, shift, sign in terms if first <= s < last} for terms in neurons]
        sharing = _Sharing(list(sources[first:last]), mine)
        sharing.run()
        # its inputs are a run of ours; what it shares comes behind all that others do
        number = [*range(first, last), *range(len(together), len(together) + len(sharing.sources) - (last - first))]
        for source in sharing.sources[last - first :]:
            assert source.pair is not None
            one, other, shift, sign = source.pair
            together.append(replace(source, pair=(number[one], number[other], shift, sign)))
        for terms, found in zip(made, sharing.neurons, strict=True):
            terms += [(number[s], shift, sign) for s, shift, sign in found]
    return Plan(tuple(together), inputs, tuple(tuple(sorted(terms)) for terms in made))


def adders(plan: Plan) -> float:
    """Return the adders of *plan* in full adders, biases left out."""
    total = 0.0
    words = [
        Word(s.low, s.high, tuple((f"source{i}", bit) for bit in range(s.bits))) for i, s in enumerate(plan.sources)
    ]
    sums: list[tuple[int, int, Sequence[Term]]] = []
    for source in plan.sources[plan.inputs :]:
        sums.append((source.low, source.high, pair_terms(source)))
    for terms in plan.neurons:
        ends = [sorted((sign * words[s].low << k, sign * words[s].high << k)) for s, k, sign in terms]
        sums.append((sum(low for low, _ in ends), sum(high for _, high in ends), terms))
    for low, high, summands in sums:
        columns = Columns(width_of(low, high))
        for s, shift, sign in summands:
            columns.add(words[s], shift, sign)
        full, half = adder_counts(compress(columns)[0])
        total += full + HALF_ADDER * half
    return total


def pair_terms(source: DigitSource) -> tuple[Term, Term]:
    """Return the two terms of a shared sum."""
    assert source.pair is not None
    first, second, shift, sign = source.pair
    return (first, 0, -1 if source.swapped else 1), (second, shift, 1 if source.swapped else sign)


Pattern = tuple[int, int, int, int]
"""(first, second, shift, sign): first + sign · (second << shift), shift ≥ 0; the lower id first where shift = 0."""


class _Sharing:
    """The greedy search; counts of patterns are kept up to date, and checked when one is about to be taken out."""

    def __init__(self, sources: list[DigitSource], neurons: list[set[Term]]) -> None:
        self.sources, self.neurons = sources, neurons
        self.widths = [source.bits for source in sources]
        self.counts: dict[Pattern, int] = defaultdict(int)
        self.saving: dict[Pattern, tuple[float, float]] = {}
        self.holders: dict[int, set[int]] = defaultdict(set)
        self.heap: list[tuple[float, Pattern]] = []

    def run(self) -> None:
        for index, terms in enumerate(self.neurons):
            ordered = sorted(terms)
            for position, a in enumerate(ordered):
                self.holders[a[0]].add(index)
                for b in ordered[position + 1 :]:
                    self._count(a, b, 1)
        for pattern, count in self.counts.items():
            self._push(pattern, count)
        while self.heap:
            estimate, pattern = heapq.heappop(self.heap)
            count = self.counts.get(pattern, 0)
            if count < 2:
                continue
            if self._gain(pattern, count) < -estimate:
                self._push(pattern, count)  # out of date: back to its place
                continue
            places = self._places(pattern)
            uses = sum(len(pairs) for pairs in places.values())
            gain = self._gain(pattern, uses)
            if gain <= 0:
                continue
            if self.heap and gain < -self.heap[0][0] and uses < count:
                self.counts[pattern] = uses  # overlapping pairs were counted twice
                self._push(pattern, uses)
                continue
            self._take_out(pattern, places)

    def _gain(self, pattern: Pattern, uses: int) -> float:
        """Return the full adders that sharing *pattern* in *uses* places saves."""
        if pattern not in self.saving:
            self.saving[pattern] = self._figures(pattern)
        each, once = self.saving[pattern]
        return uses * each - once

    def _figures(self, pattern: Pattern) -> tuple[float, float]:
        """Return dots saved at each use, and the cost of building the pair once, both in full adders."""
        new = self._source(pattern)
        first, second = self.sources[pattern[0]], self.sources[pattern[1]]
        dots = first.bits + second.bits - new.bits
        overlap = max(0, min(first.bits, second.bits + pattern[2]) - pattern[2])
        full = max(0, overlap - 1)
        half = max(0, new.bits - pattern[2] - full - 1) if overlap else 0
        return float(dots), full + HALF_ADDER * half

    def _source(self, pattern: Pattern) -> DigitSource:
        first, second = self.sources[pattern[0]], self.sources[pattern[1]]
        shift, sign = pattern[2], pattern[3]
        ends = (
            (second.low << shift, second.high << shift)
            if sign > 0
            else (-(second.high << shift), -(second.low << shift))
        )
        if pattern[0] == pattern[1]:  # the two are the same value: the range is that of one product
            factor = (1 << shift) + sign
            return DigitSource(first.low * factor, first.high * factor, pattern)
        return DigitSource(first.low + ends[0], first.high + ends[1], pattern)

    def _push(self, pattern: Pattern, count: int) -> None:
        if count >= 2:
            gain = self._gain(pattern, count)
            if gain > 0:
                heapq.heappush(self.heap, (-gain, pattern))

    def _count(self, a: Term, b: Term, change: int) -> Pattern | None:
        """Add *change* to the count of the pattern of two terms; return it, or None where sharing it cannot pay."""
        if (b[1], b[0]) < (a[1], a[0]):
            a, b = b, a
        shift = b[1] - a[1]
        # the hot path: pairs that hardly overlap have nothing to save, and most pairs are such
        if shift >= self.widths[a[0]] - 1 or self.widths[b[0]] < 2 or (a[0] == b[0] and not shift):
            return None
        pattern = (a[0], b[0], shift, a[2] * b[2])
        self.counts[pattern] += change
        return pattern

    def _places(self, pattern: Pattern) -> dict[int, list[tuple[Term, Term]]]:
        """Return the occurrences of *pattern* that do not overlap, by neuron."""
        first, second, shift, sign = pattern
        places: dict[int, list[tuple[Term, Term]]] = {}
        for index in sorted(self.holders[first] & self.holders[second]):
            terms, used = self.neurons[index], set[Term]()
            for a in sorted(t for t in terms if t[0] == first):
                b = (second, a[1] + shift, a[2] * sign)
                if b in terms and a not in used and b not in used and a != b:
                    used.update((a, b))
                    places.setdefault(index, []).append((a, b))
        return places

    def _take_out(self, pattern: Pattern, places: dict[int, list[tuple[Term, Term]]]) -> None:
        new = len(self.sources)
        self.sources.append(self._source(pattern))
        self.widths.append(self.sources[new].bits)
        raised: set[Pattern] = set()
        for index, pairs in places.items():
            terms = self.neurons[index]
            for a, b in pairs:
                for old in (a, b):
                    terms.discard(old)
                    for other in terms:
                        self._count(old, other, -1)
                self._count(a, b, -1)
                term = (new, a[1], -a[2] if self.sources[new].swapped else a[2])
                for other in terms:
                    changed = self._count(term, other, 1)
                    if changed is not None:
                        raised.add(changed)
                terms.add(term)
            self.holders[new].add(index)
        for changed in sorted(raised):
            self._push(changed, self.counts[changed])
        self.counts.pop(pattern, None)


def _without_unused(plan: Plan) -> Plan:
    """Return *plan* without shared sums that nothing reads, renumbered."""
    read = {source for terms in plan.neurons for source, _, _ in terms}
    for index in range(len(plan.sources) - 1, plan.inputs - 1, -1):
        pair = plan.sources[index].pair
        if index in read and pair is not None:
            read.update(pair[:2])
    kept = [i for i in range(len(plan.sources)) if i < plan.inputs or i in read]
    number = {old: new for new, old in enumerate(kept)}

    def renumbered(source: DigitSource) -> DigitSource:
        if source.pair is None:
            return source
        first, second, shift, sign = source.pair
        return DigitSource(source.low, source.high, (number[first], number[second], shift, sign))

    neurons = tuple(tuple((number[s], k, sign) for s, k, sign in terms) for terms in plan.neurons)
    return Plan(tuple(renumbered(plan.sources[i]) for i in kept), plan.inputs, neurons)
