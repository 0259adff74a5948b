"""What approximating does to the worst and not the mean, as a record: classes, subgroups, steps, layers, and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

from approxhw.common.errors import shown

from .changes import RowChange
from .margins import MarginShift
from .subgroups import PartChange

MINUS = "−"


@dataclass(frozen=True)
class FormChange:
    """A form of the model against the one that answers are held to: all of it, and the class that loses most.

    Of a step: after a pass. Of a layer: with the arithmetic of that layer alone approximated, all others exact.
    """

    name: str
    whole: RowChange
    worst_class: str
    worst: RowChange


@dataclass(frozen=True)
class SafetyReport:
    """What approximating does to classes and subgroups of rows, against answers of the reference.

    ``against``: whose answers stand before. ``judged_by``: the rows that name the worst class and subgroup, such as training
    rows; ``told_by``: other rows, told beside, empty where there are none. ``flips``: (class before, class after, rows) on the
    rows that judge. ``max_accuracy_loss``, ``max_class_loss``: shares up to which the mean, and a class, hold.
    """

    against: str
    judged_by: str
    told_by: str
    whole: PartChange
    classes: tuple[PartChange, ...]
    flips: tuple[tuple[int, int, int], ...] = ()
    max_accuracy_loss: float = 0.01
    max_class_loss: float = 0.03
    groups_by: str = ""
    """What parts rows into subgroups, in words."""
    groups_seen: int = 0
    """Subgroups that were looked at; ``groups`` are those that most surely lose most, the worst first."""
    groups: tuple[PartChange, ...] = ()
    margins: MarginShift | None = None
    """On the rows that judge; None where no scores decide."""
    steps: tuple[FormChange, ...] = ()
    """After each pass that is not exact."""
    layers: tuple[FormChange, ...] = ()
    """With one layer alone approximated; none where nobody asked."""
    layers_against: str = ""
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> PartChange | None:
        """The class that loses the greatest share of the rows that judge; None where none of them has rows."""
        known = [part for part in self.classes if part.judged.rows]
        return max(known, key=lambda part: part.judged.loss) if known else None

    @property
    def mean_holds(self) -> bool:
        """Whether all rows that judge lose no more than was allowed."""
        return self.whole.judged.loss <= self.max_accuracy_loss + 1e-12

    @property
    def hidden(self) -> tuple[PartChange, ...]:
        """Classes that lose more than is allowed though the mean holds, the worst first."""
        if not self.mean_holds:
            return ()
        beyond = [part for part in self.classes if part.judged.loss > self.max_class_loss + 1e-12]
        return tuple(sorted(beyond, key=lambda part: -part.judged.loss))

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        worst = self.worst
        if worst is None:
            return f"no class has {self.judged_by}: nothing is known of the worst one"
        whole, most = in_points(-self.whole.judged.loss), in_percent(self.max_accuracy_loss)
        mean = (
            f"the mean {'holds' if self.mean_holds else 'does not hold'} ({whole} points, at most {most} may be lost)"
        )
        named = f"class {shown(worst.name, 40)} {told_change(worst.judged)}"
        if hidden := self.hidden:
            others = f", and {len(hidden) - 1} more" if len(hidden) > 1 else ""
            return (
                f"{mean}, but a class does not: {named}, at most {in_percent(self.max_class_loss)} may be lost{others}"
            )
        held = worst.judged.loss <= self.max_class_loss + 1e-12
        return f"{mean}; the worst class {'holds' if held else 'does not hold either'}: {named}"


def check_safety(told: SafetyReport | None) -> None:
    """Raise ``ValueError`` where *told* cannot be: it may have been written by anybody."""
    if told is None:
        return
    parts = [told.whole, *told.classes, *told.groups]
    changes = [change for part in parts for change in (part.judged, part.told) if change is not None]
    changes += [change for form in (*told.steps, *told.layers) for change in (form.whole, form.worst)]
    shares = (told.max_accuracy_loss, told.max_class_loss)
    moved = [] if told.margins is None else [*told.margins.before, *told.margins.after, *told.margins.shares]
    if not all(change.possible for change in changes) or not all(0 <= share <= 1 for share in shares):
        raise ValueError("safety: it cannot be")
    even = told.margins is None or len(told.margins.shares) == len(told.margins.before) == len(told.margins.after)
    if not even or not all(map(math.isfinite, moved)) or any(min(flip) < 0 for flip in told.flips):
        raise ValueError("safety: it cannot be")


def told_change(change: RowChange) -> str:
    """Return what became of rows in words: points, of how many rows, and the interval in which that is sure."""
    low, high = change.interval
    return (
        f"{in_points(-change.loss)} points of {change.rows} rows (95 %: {in_points(-high)} to {in_points(-low)}; "
        f"{change.lost} lost, {change.gained} gained)"
    )


def in_points(share: float) -> str:
    """Return a change of a share in points, its sign in front."""
    return "±0.0" if abs(share) < 0.0005 else f"{100 * share:+.1f}".replace("-", MINUS)


def in_percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:g} %"
