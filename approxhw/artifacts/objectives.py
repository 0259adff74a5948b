"""What a search makes least: named, typed objectives, chosen two or three at a time, the errors always among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion

FEWEST, MOST = 2, 3


@dataclass(frozen=True)
class Objective:
    """Something to make least. A search compares integers of ``unit``; a member of its front tells the same as a number.

    ``field``: of the member. ``scale``: units of the search to one of the member's. ``title``: what a page shows, in a
    unit of which the member's value times ``shown`` is one. ``least``: what the member is called that has least of it,
    where ``{}`` stands for what it is.
    """

    name: str
    help: str
    unit: str
    scale: float
    field: str
    title: str
    least: str
    shown: float = 1.0

    def value(self, member: object) -> float:
        """Return what *member* (of a front) tells of it."""
        return float(getattr(member, self.field))


def _of(*objectives: Objective) -> Mapping[str, Objective]:
    return {objective.name: objective for objective in objectives}


ERRORS = Objective(
    "errors", "rows of the wrong class; always among them", "errors", 1, "accuracy", "accuracy", "the most accurate {}"
)
"""The one that is bounded; what a member tells is its accuracy, of which the most is best."""

CIRCUIT = _of(
    ERRORS,
    Objective("area", "of the cells", "um2", 1e6, "area_mm2", "area, cm²", "the smallest {}", 0.01),
    Objective(
        "power", "static and dynamic, over training rows", "pw", 1e9, "power_mw", "power, mW", "the {} of least power"
    ),
    Objective(
        "energy", "of one classification: power times delay", "aj", 1e12, "energy_uj", "energy, µJ",
        "the {} of least energy",
    ),
    Objective("delay", "of the longest path", "ps", 1e9, "delay_ms", "delay, ms", "the fastest {}"),
    Objective("inputs", "features that are still read", "inputs", 1, "inputs", "inputs", "the {} of fewest inputs"),
    Objective(
        "converters", "area of the converters of these inputs", "converters_um2", 1e6, "converters_area_mm2",
        "converters, cm²", "the {} of smallest converters", 0.01,
    ),
    Objective(
        "system-area", "of the circuit and of the converters of its inputs", "system_um2", 1e6, "system_area_mm2",
        "system, cm²", "the {} of the smallest system", 0.01,
    ),
    Objective(
        "system-power", "of the circuit and of the converters of its inputs", "system_pw", 1e9, "system_power_mw",
        "system, mW", "the {} of the system of least power",
    ),
)  # fmt: skip
"""Of printed and other bespoke circuits."""

ENGINE = _of(
    ERRORS,
    Objective(
        "area", "of one element of each arithmetic that is used", "milli_um2", 1000, "area_um2", "elements, µm²",
        "the cheapest",
    ),
    Objective("energy", "of a run's multiply-adds", "pj", 1000, "energy_nj", "energy, nJ", "the cheapest"),
    Objective(
        "power", "of one element of each arithmetic that is used", "pw", 1e9, "power_mw", "elements, mW",
        "the one of least power",
    ),
    Objective(
        "delay", "of the slowest element that is used", "fs", 1e6, "delay_ns", "delay, ns", "the fastest"
    ),
    Objective(
        "clocks", "of all products on the array", "clocks", 1, "clocks", "clocks", "the one of fewest clocks"
    ),
)  # fmt: skip
"""Of matrix engines."""

DEFAULT = ("errors", "area")


def chosen_objectives(
    given: str | Sequence[str], known: Mapping[str, Objective], where: str = "objectives"
) -> tuple[Objective, ...]:
    """Return the objectives that *given* names (``"errors,area"`` or a sequence), in the order of *known*.

    Raises :class:`OptionError` with everything that is wrong with them: names that are not known or there twice, fewer
    than two or more than three, no errors.
    """
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given)]
    choice = f"two or three of {', '.join(known)}, such as {','.join(DEFAULT)}"
    found = [
        Problem(where, f"there is no objective {shown(name, 40)!r}{suggestion(name, [*known])}", f"give {choice}")
        for name in dict.fromkeys(names)
        if name not in known
    ]
    found += [
        Problem(where, f"{name} is named {names.count(name)} times", "name it once")
        for name in dict.fromkeys(names)
        if name in known and names.count(name) > 1
    ]
    if not found and not FEWEST <= len(names) <= MOST:
        alone = f"{shown(names[0], 40)!r} alone leaves" if names else "none leaves"
        one = f"{alone} nothing to trade off; at least {FEWEST} are searched"
        why = one if len(names) < FEWEST else f"{len(names)} are named; at most {MOST} are searched"
        found.append(Problem(where, why, f"give {choice}"))
    if not found and ERRORS.name not in names:
        why = "errors are not among them, and without them the emptiest circuit is best"
        found.append(Problem(where, why, f"put errors in the place of one: {','.join(['errors', *names[1:]])}"))
    if found:
        raise OptionError("search", found)
    return tuple(objective for name, objective in known.items() if name in names)
