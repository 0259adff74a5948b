"""What single layers of an integer engine have: an operator, narrowed or moved weights; how a plan of them is spelled."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.multipliers.families import EXACT

KeyT = TypeVar("KeyT", bound=Hashable)

OPERATOR_FILES = (".v", ".sv", ".npz")
"""How names of files end: what is behind a plus there is part of the name."""

EDITS = "+tune or +fit, and +2bits to +7bits"
"""What may stand behind an operator."""

_EDIT = re.compile(r"(?P<rest>.+)\+(?:(?P<moved>tune|fit)|(?P<bits>[2-7])bits)\Z")


@dataclass(frozen=True)
class LayerPlan:
    """What a layer has: the spelling of its ``operator``, ``bits`` that weights keep (None: all), how they are ``moved``.

    ``moved``: ``tune`` as tune-weights does it, ``fit`` as fit-weights does; empty: they stay.
    """

    operator: str
    bits: int | None = None
    moved: str = ""

    def __str__(self) -> str:
        """Return the one spelling, such as ``truncated-8+5bits+fit``."""
        bits = "" if self.bits is None else f"+{self.bits}bits"
        return f"{self.operator}{bits}{self.moved and '+' + self.moved}"


def read_plan(text: str) -> dict[int, LayerPlan]:
    """Return the plan that *text* spells, by number of layer: ``1=exact;0:3:4=truncated-8+fit;2=mul.v+5bits``.

    Layers are numbered from 0, as the report lists them. Raises :class:`OptionError` with everything that is wrong.
    """
    found: dict[int, LayerPlan] = {}
    problems = []
    for part in filter(None, (each.strip() for each in text.split(";"))):
        numbers, equals, said = part.partition("=")
        known = [word.strip() for word in numbers.split(":")]
        if (
            not equals
            or not said.strip()
            or not all(word.isascii() and word.isdigit() and len(word) < 6 for word in known)
        ):
            why = f"{shown(repr(part), 60)} is none of NUMBER:NUMBER=OPERATOR"
            problems.append(Problem("layers", why, "write such as '1=exact;0:3:4=truncated-8+fit': numbers one by one"))
            continue
        for number in map(int, known):
            if number in found:
                problems.append(Problem("layers", f"layer {number} is named twice", "name it once"))
            try:
                found[number] = _read(said.strip())
            except ValueError as error:
                problems.append(Problem("layers", f"layer {number}: {error}", f"leave that edit out, or write {EDITS}"))
    if problems:
        raise OptionError("integer engine", problems)
    return found


def spell_plan(plan: Mapping[int, LayerPlan]) -> str:
    """Return the text that :func:`read_plan` reads as *plan*: layers of one kind stand together."""
    return ";".join(
        f"{':'.join(map(str, numbers))}={each}" for each, numbers in layers_by(plan, lambda each: each).items()
    )


def can_stand_in_plan(operator: str) -> bool:
    """Whether a plan that names *operator*, which may be a path, is read as it was meant."""
    plan = {0: LayerPlan(operator)}
    try:
        return read_plan(spell_plan(plan)) == plan
    except OptionError:
        return False


def layers_by(plan: Mapping[int, LayerPlan], key: Callable[[LayerPlan], KeyT]) -> dict[KeyT, list[int]]:
    """Return the numbers of layers, rising, by what *key* says of their plans, in the order in which it is first met."""
    found: dict[KeyT, list[int]] = {}
    for number, each in sorted(plan.items()):
        found.setdefault(key(each), []).append(number)
    return found


def _read(text: str) -> LayerPlan:
    """Return what *text* spells: edits stand behind the operator, which may be a path; ``ValueError`` for two of a kind."""
    bits, moved = None, ""
    while (edit := _EDIT.match(text)) is not None:
        text = edit["rest"]
        if (moved and edit["moved"]) or (bits is not None and edit["bits"]):
            raise ValueError(f"{shown(text, 60)} is given the same kind of edit twice")
        if edit["moved"]:
            moved = edit["moved"]
        else:
            bits = int(edit["bits"])
    operator, plus, last = text.rpartition("+")
    if plus and operator and Path(last).suffix not in OPERATOR_FILES:
        raise ValueError(f"{shown(repr(last), 40)} is no edit")
    if text == EXACT and moved and bits is None:
        raise ValueError(f"exact products err nowhere: there is nothing to {moved}")
    return LayerPlan(text, bits, moved)
