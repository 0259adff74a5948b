"""Gate level: a classifier's Graph as one ``Gates``, simplified by rows that it may lose, or by codes that cannot occur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.chain import is_decision
from approxhw.ir.evaluation import care_set_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Gates
from approxhw.numerics.formats import Fixed
from approxhw.numerics.logic.gates import MOST_GATES, GateList, MappedGates
from approxhw.numerics.logic.removal import CareRows, Removed, care_rows, remove_gates
from approxhw.numerics.logic.resynthesis import Resynthesised, resynthesise

Mapper = Callable[[Graph], MappedGates]
"""Synthesises the circuit of a Graph to the cells of a library, and reads it back as gates."""

MOST_BITS = 62
"""Bits of an input code that gates may look at."""


@dataclass(frozen=True)
class GateOptions:
    """What gates may lose, and the rows that say so: options of every search on the level of gates."""

    max_loss: float = field(default=0.005, metadata={"help": "accuracy on rows set aside that may be lost, 0 to 1"})
    aside: float = field(default=0.3, metadata={"help": "share of training rows that no move sees"})
    copies: int = field(default=4, metadata={"help": "noisy copies of each row that moves see"})
    noise: float = field(default=0.2, metadata={"help": "chance of each code of a copy to be one off"})
    candidates: int = field(default=4, metadata={"help": "earlier signals tried in the place of each"})
    rows: int = field(default=10_000, metadata={"help": "training rows that are looked at, at most"})


LEAST = {"copies": 0, "candidates": 0, "rows": 2, "seed": 0, "generations": 1, "population": 4, "islands": 1}
"""The least that whole-numbered options of gates may be."""


def option_problems(name: str, options: object) -> list[Problem]:
    """Return what is out of reach of the fields of *options*, those of :class:`GateOptions` and of ``LEAST`` that it has."""
    found = []
    loss, aside, noise = (getattr(options, key, 0.5) for key in ("max_loss", "aside", "noise"))
    if not 0 <= loss <= 1:
        found.append(Problem(f"{name}.max_loss", f"{loss:g} is not in 0…1", "write 0.5% or 0.005"))
    if not 0 < aside < 1:
        found.append(Problem(f"{name}.aside", f"{aside:g} is not between 0 and 1"))
    if not 0 <= noise <= 1:
        found.append(Problem(f"{name}.noise", f"{noise:g} is not in 0…1"))
    for key, least in LEAST.items():
        if getattr(options, key, least) < least:
            found.append(Problem(f"{name}.{key}", f"{getattr(options, key)} is less than {least}"))
    return found


def gate_problems(graph: Graph) -> list[Problem]:
    """Return why *graph* cannot become one ``Gates`` that decides; nothing where it can."""
    found = []
    fmt = graph.input.type.format
    if not graph.is_integer:
        found.append(Problem(graph.name, "only an integer Graph has gates", "run quantize-weights before"))
    elif not is_decision(graph[graph.output]):
        why = f"it ends with {graph[graph.output].kind}, and wrong rows are counted by classes"
        found.append(Problem(graph.output, why, "it is for classifiers of one class a row"))
    if isinstance(fmt, Fixed) and fmt.bits > MOST_BITS:
        found.append(Problem(graph.input.name, f"its codes have {fmt.bits} bits; {MOST_BITS} are the most"))
    return found


def graph_of_gates(graph: Graph, gates: GateList) -> Graph:
    """Return the classifier *graph* with *gates* between its Input and its output, and nothing else."""
    x, head = graph.input, graph[graph.output]
    node = Node(head.name, Gates(gates, _format(graph).bits, graph.classes), (x.name,), head.type, head.origin)
    return replace(graph, nodes=(x, node))


def _format(graph: Graph) -> Fixed:
    fmt = graph.input.type.format
    assert isinstance(fmt, Fixed)
    return fmt


def mapped_circuit(name: str, graph: Graph, mapped_gates: Mapper) -> MappedGates:
    """Return the gates of the circuit of *graph*; raise :class:`PassError` of the pass *name* where there are too many."""
    mapped = mapped_gates(graph)
    if len(mapped.gates.functions) > MOST_GATES:
        why = f"its circuit has {len(mapped.gates.functions)} gates; {MOST_GATES} are the most"
        raise PassError(f"pass {name}", [Problem(graph.name, why, "use narrower inputs or weights")])
    return mapped


def rows_of_gates(
    name: str, graph: Graph, codes: np.ndarray, labels: np.ndarray, options: GateOptions, rng: np.random.Generator
) -> CareRows:
    """Return the rows that moves see, with their noisy copies, and those set aside; raise :class:`PassError` of too few."""
    rows = care_rows(
        codes,
        labels,
        aside=options.aside,
        copies=options.copies,
        noise=options.noise,
        high=_format(graph).high,
        most=options.rows,
        rng=rng,
    )
    if not len(rows.codes) or not len(rows.aside_codes):
        why = f"{len(codes)} training rows, of which {len(rows.aside_codes)} can be set aside: too few to judge by"
        raise PassError(f"pass {name}", [Problem("rows", why, "give more rows, or another share aside=…")])
    return rows


def gate_generator(seed: int) -> np.random.Generator:
    """Return what everything on the level of gates draws from: one seed sets the same rows aside, whatever changes gates."""
    return np.random.default_rng([seed, 13])


@dataclass(frozen=True)
class Simplified:
    """What removal came to: the circuit before, what was found, and the rows that it was found by."""

    before: MappedGates
    found: Removed
    rows: CareRows

    @property
    def changed(self) -> bool:
        """Whether anything went."""
        return self.found.mapped is not self.before


def simplified_gates(
    name: str,
    graph: Graph,
    codes: np.ndarray,
    labels: np.ndarray,
    mapped_gates: Mapper,
    options: GateOptions,
    seed: int,
    on_stage: Callable[[int, int], None] | None = None,
) -> Simplified:
    """Return the gates of *graph* without what rows do not need, within ``options.max_loss`` on rows set aside.

    *codes*: int64, rows × elements. *labels*: class indices. *on_stage*: hears how much is done, of how much. Raises
    :class:`PassError` of the pass *name*.
    """
    rng = gate_generator(seed)
    rows = rows_of_gates(name, graph, codes, labels, options, rng)
    mapped = mapped_circuit(name, graph, mapped_gates)
    remap = remapper(graph, mapped_gates)
    found = remove_gates(
        mapped,
        rows,
        _format(graph).bits,
        remap,
        max_loss=options.max_loss,
        candidates=options.candidates,
        rng=rng,
        on_stage=on_stage,
    )
    return Simplified(mapped, found, rows)


def remapper(graph: Graph, mapped_gates: Mapper) -> Callable[[GateList], MappedGates]:
    """Return what synthesises gates in the place of *graph* anew."""
    return lambda gates: mapped_gates(graph_of_gates(graph, gates))


def resynthesised_gates(
    graph: Graph, mapped: MappedGates, mapped_gates: Mapper, candidates: int, seed: int
) -> Resynthesised | None:
    """Return gates that equal *mapped*, the circuit of *graph*, on every code that can occur; None: too many can, to prove it."""
    remap = remapper(graph, mapped_gates)
    return resynthesise(mapped, care_set_of(graph), remap, candidates=candidates, rng=gate_generator(seed))


def smallest_gates(
    graph: Graph,
    codes: np.ndarray,
    labels: np.ndarray,
    mapped_gates: Mapper,
    options: GateOptions | None = None,
    seed: int = 1,
) -> Graph:
    """Return an integer classifier *graph* as the smallest ``Gates`` that loses at most ``max_loss`` on rows set aside.

    What rows do not need goes (:func:`simplified_gates`), then what codes that cannot occur leave free, where they are few
    enough to look at all. It is *graph* itself where nothing smaller is found. *codes*: int64, rows × elements, of training
    rows alone; *labels*: their class indices. *mapped_gates*: synthesises the circuit of a Graph, as
    ``flow.stages.mapped.circuit_gates`` does. The same arguments give the same gates. Raises :class:`PassError` for a Graph
    that decides no class, and for too few rows.
    """
    name, options = "smallest-gates", options or GateOptions()
    if found := [*option_problems(name, options), *gate_problems(graph)]:
        raise PassError(name, found)
    simple = simplified_gates(name, graph, codes, labels, mapped_gates, options, seed)
    mapped = simple.found.mapped
    base = graph_of_gates(graph, mapped.gates) if simple.changed else graph
    exact = resynthesised_gates(base, mapped, mapped_gates, options.candidates, seed)
    best = mapped if exact is None else exact.mapped
    return graph if best is simple.before else graph_of_gates(graph, best.gates)
