"""The safety record: its verdict in words, whom it marks, and what of it cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from approxhw.common.statistics.changes import RowChange
from approxhw.common.statistics.margins import MarginShift
from approxhw.common.statistics.safety import FormChange, SafetyReport, check_safety, told_change
from approxhw.common.statistics.subgroups import PartChange

BIG = PartChange("big", RowChange(900, 850, 2, 6, 10), RowChange(300, 280, 1, 1, 2))
SMALL = PartChange("small", RowChange(50, 45, 6, 1, 8))
REPORT = SafetyReport(
    against="onnxruntime",
    judged_by="training rows",
    told_by="test rows",
    whole=PartChange("all", RowChange(950, 895, 8, 7, 18)),
    classes=(BIG, SMALL, PartChange("empty", RowChange(0, 0, 0, 0, 0))),
)


def test_a_mean_that_holds_and_a_class_that_does_not():
    assert REPORT.worst == SMALL
    assert REPORT.mean_holds
    assert REPORT.hidden == (SMALL,)
    assert REPORT.sentence == (
        "the mean holds (−0.1 points, at most 1 % may be lost), but a class does not: class small −10.0 points of 50 rows "
        "(95 %: −20.0 to +0.7; 6 lost, 1 gained), at most 3 % may be lost"
    )


def test_what_holds_and_what_does_not():
    kept = replace(REPORT, max_class_loss=0.1)
    assert kept.hidden == ()
    assert "; the worst class holds: class small −10.0" in kept.sentence
    lost = replace(REPORT, max_accuracy_loss=0.0)
    assert not lost.mean_holds
    assert lost.hidden == ()
    assert lost.sentence.startswith(
        "the mean does not hold (−0.1 points, at most 0 % may be lost); the worst class does"
    )
    assert replace(REPORT, classes=(BIG, SMALL, SMALL)).sentence.endswith(", and 1 more")
    nobody = replace(REPORT, classes=())
    assert nobody.sentence == "no class has training rows: nothing is known of the worst one"


def test_words_for_what_became_of_rows():
    assert told_change(RowChange(10, 5, 0, 2, 2)) == (
        "+20.0 points of 10 rows (95 %: −10.0 to +43.3; 0 lost, 2 gained)"
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"max_class_loss": 1.5},
        {"flips": ((0, -1, 3),)},
        {"groups": (PartChange("g", RowChange(1, 2, 0, 0, 0)),)},
        {"classes": (PartChange("c", BIG.judged, RowChange(1, 0, 1, 0, 1)),)},
        {"steps": (FormChange("s", BIG.judged, "c", RowChange(-1, 0, 0, 0, 0)),)},
        {"margins": MarginShift((0.5,), (1.0,), (float("nan"),), 3)},
        {"margins": MarginShift((0.5,), (1.0,), (), 3)},
    ],
)
def test_what_cannot_be_is_refused(broken):
    check_safety(REPORT)
    check_safety(None)
    with pytest.raises(ValueError, match="safety: it cannot be"):
        check_safety(replace(REPORT, **broken))
