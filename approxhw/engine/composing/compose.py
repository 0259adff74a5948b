"""The search for smaller forms of a model: budgets of clocks halved between what holds the bounds and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from approxhw.common.errors import PassError
from approxhw.common.files import read_text, write_beside
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, PassContext, run_passes, spell_pass
from approxhw.passes.structure.ground.layers import clocks_of

from .allotment import Allotment, Tell, allotment_of, pruning

STEPS = 5
"""Halvings of the range in which the least budget is looked for."""

LEAST = 0.1
"""Share of the clocks below which nothing is tried."""

MOVES = 0.025
"""Share of the clocks less that is asked of other splits once the halving is done."""

MOST_KEPT = 1 << 24
"""Bytes of the file of what was tried."""

SPLITS = (0.5, 1.0, 0.0, 0.75, 0.25)
"""Of what is saved, in logarithms: the part of factors; channels leave for the rest. The first three are tried at each budget."""


@dataclass(frozen=True)
class FormLosses:
    """What a Graph loses on the rows that judge: of all rows, and of the worst class (shares)."""

    loss: float
    class_loss: float


@dataclass(frozen=True)
class LossBounds:
    """What may be lost at most; ``classes``: by any class, None where that is not bounded."""

    rows: float
    classes: float | None = None

    def missed(self, judged: FormLosses) -> float:
        """Return by how much the bounds are missed; 0 or less where they hold."""
        over = judged.loss - self.rows
        return over if self.classes is None else max(over, judged.class_loss - self.classes)


@dataclass(frozen=True, eq=False)
class Composition:
    """A smaller form of a model: the row of ``passes`` that makes it, its Graph, the clocks it takes, what it loses."""

    passes: tuple[Pass, ...]
    graph: Graph
    clocks: int
    judged: FormLosses

    @property
    def spelled(self) -> str:
        """The row of passes as ``compile --passes`` takes it; empty for the model itself."""
        return ",".join(map(spell_pass, self.passes))


@dataclass(eq=False)
class Composing:
    """A search under way: what budgets are allotted by, who judges, and what was tried so far.

    ``named``: whether each of those ``asked`` was asked for by its name. ``judge``: what a Graph loses.
    ``kept``: a file of what rows of passes came to, for a search that begins again, and ``identity``, which tells models and
    rows apart in it. ``stop``: asked before each trial; true ends the search with what there is.
    """

    context: PassContext
    asked: tuple[str, ...]
    named: bool
    bounds: LossBounds
    judge: Callable[[Graph], FormLosses]
    most: int
    tell: Tell
    kept: Path | None = None
    identity: str = ""
    stop: Callable[[], bool] | None = None

    def compositions(self, graph: Graph) -> list[Composition]:
        """Return *graph* itself and smaller forms of it, by falling clocks: of all that were tried those that none beats.

        The least budget that holds the bounds is looked for by halving; at each budget, several splits between factors and
        channels are tried until one holds them. What trials are left is spent on other splits just below. Raises
        :class:`PassError` where no pass that is asked for applies, or one that is asked for by its name does not.
        """
        allotment = allotment_of(graph, self.context, self.asked, self.tell)
        idle = allotment.idle(self.asked)
        if len(idle) == len(self.asked) or (idle and self.named):
            raise PassError("search", idle)
        found = [Composition((), graph, allotment.clocks, FormLosses(0.0, 0.0))]
        known = self._known()
        splits = list(self._splits(allotment))
        low, high = LEAST, 1.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            held = None
            for split in list(splits):
                if self._ended(found):
                    break
                made = self._tried(allotment, middle, split, known)
                if made is None:
                    continue
                found.append(made)
                if self.bounds.missed(made.judged) <= 0:
                    held = made
                    splits.remove(split)
                    splits.insert(0, split)
                    break
            if held is None:
                low = middle
            else:
                high = min(middle, held.clocks / allotment.clocks)
        failed = 0
        others = [split for split in SPLITS if self._fits(split, allotment)]
        while failed < len(others) and not self._ended(found) and high - MOVES > LEAST:
            made = self._tried(allotment, high - MOVES, others[failed], known)
            if made is not None:
                found.append(made)
            if made is not None and self.bounds.missed(made.judged) <= 0:
                high, failed = made.clocks / allotment.clocks, 0
            else:
                failed += 1
        return unbeaten_compositions(found, self.bounds)

    def _splits(self, allotment: Allotment) -> Sequence[float]:
        return [split for split in SPLITS[:3] if self._fits(split, allotment)]

    def _fits(self, split: float, allotment: Allotment) -> bool:
        """Return whether passes that are asked for can take such a part each."""
        factors, channels = bool(allotment.layers), allotment.prunes
        return (split == 0 or factors) and (split == 1 or channels)

    def _ended(self, found: Sequence[Composition]) -> bool:
        return len(found) > self.most or (self.stop is not None and self.stop())

    def _tried(
        self, allotment: Allotment, share: float, split: float, known: dict[str, list[float]]
    ) -> Composition | None:
        """Return the composition within a *share* of the clocks; None where nothing is so small."""
        self.tell("smaller forms", len(known), self.most)
        quiet = replace(self.context, notes=[])
        try:
            passes: tuple[Pass, ...] = ()
            made = allotment.graph
            if split > 0:
                passes = allotment.factors(allotment.clocks * share**split)
                made = _run(allotment.graph, passes, quiet)
            if split < 1:
                further = pruning(made, allotment, allotment.clocks * share)
                made, passes = _run(made, further, quiet), (*passes, *further)
        except PassError:
            return None
        if not passes:
            return None
        spelled = ",".join(map(spell_pass, passes))
        if spelled not in known:
            judged = self.judge(made)
            known[spelled] = [judged.loss, judged.class_loss]
            if self.kept is not None:
                self.kept.parent.mkdir(parents=True, exist_ok=True)
                write_beside(self.kept, json.dumps({"identity": self.identity, "tried": known}))
        reshaping = allotment.ground.reshaping
        return Composition(passes, made, clocks_of(reshaping, reshaping.typed(made)), FormLosses(*known[spelled]))

    def _known(self) -> dict[str, list[float]]:
        if self.kept is None or not self.kept.is_file():
            return {}
        try:
            told = json.loads(read_text(self.kept, MOST_KEPT))
            found = {str(name): [float(each) for each in values] for name, values in told["tried"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return {}  # whatever it is, it can be measured again
        return found if told["identity"] == self.identity and all(len(each) == 2 for each in found.values()) else {}


def _run(graph: Graph, passes: Sequence[Pass], context: PassContext) -> Graph:
    if not passes:
        return graph
    made, _ = run_passes(graph, tuple(passes), context, check=False)
    return made


def unbeaten_compositions(found: Sequence[Composition], bounds: LossBounds) -> list[Composition]:
    """Return the model and those of *found* that none beats by clocks and by what *bounds* look at, by falling clocks."""

    def point(each: Composition) -> tuple[float, ...]:
        losses = (each.judged.loss,) if bounds.classes is None else (each.judged.loss, each.judged.class_loss)
        return (each.clocks, *losses)

    kept: list[Composition] = []
    for each in sorted(found, key=point):
        if not each.passes or not any(
            all(a <= b for a, b in zip(point(one), point(each), strict=True)) for one in kept
        ):
            kept.append(each)
    return kept[::-1]
