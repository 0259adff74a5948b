"""The rule that keeps a class from being lost: who may be chosen, who is where nobody may be, and what recipes are refused."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.dse.rules.class_rule import AskedClasses, class_curves, class_margins, shares_by_class, worst_expected
from approxhw.dse.rules.decision_rule import Candidate, choose_candidate
from approxhw.dse.rules.honest_rule import HeldAsked, judged_recipes
from approxhw.dse.rules.recipe_study import RecipeStudy

ASKED = {"target": None, "reference": 0.9, "loss": 0.05}


def candidates(*told: tuple[float, float]) -> list[Candidate]:
    return [Candidate(accuracy, 10_000, float(place), lost) for place, (accuracy, lost) in enumerate(told)]


def test_the_cheapest_that_holds_the_mean_and_every_class_is_chosen():
    known = candidates((0.80, 0.0), (0.88, 0.2), (0.89, 0.031), (0.90, 0.03), (0.91, 0.0))
    plain, rule, held = choose_candidate(known, **ASKED)
    assert (plain, held) == (1, True)
    assert "class" not in rule
    found, rule, held = choose_candidate(known, **ASKED, max_class_loss=0.03)
    assert (found, held) == (3, True)
    assert rule.endswith("off its accuracy there, and no class more than 3 %")


def test_where_nobody_holds_all_of_it_the_one_that_misses_least_is_told():
    known = candidates((0.80, 0.0), (0.88, 0.2), (0.89, 0.06), (0.91, 0.07))
    found, rule, held = choose_candidate(known, **ASKED, max_class_loss=0.03)
    assert (found, held) == (2, False)
    assert rule.endswith("; there is none, so it is the one that misses this least, by 3.00 %")
    by_target, rule, held = choose_candidate(known, target=0.905, reference=0.9, loss=0, max_class_loss=0.5)
    assert (by_target, held) == (3, True)
    assert "hold an accuracy of 90.50 %" in rule
    assert rule.endswith(", and no class more than 50 %")


LABELS = np.array([0] * 60 + [1] * 30 + [2] * 6)
ANSWERS = LABELS.copy()
ANSWERS[:6] = 1


def asked(loss: float = 0.1, judging: np.ndarray | None = None) -> AskedClasses:
    return AskedClasses(loss, LABELS, ANSWERS, np.arange(96) if judging is None else judging, ("a", "b", "c"))


def test_the_model_is_judged_by_the_rows_that_pick_winners():
    assert asked().reference().tolist() == [0.9, 1.0, 1.0]
    assert asked().notes() == []
    first = asked(judging=np.arange(10))
    assert first.reference()[0] == 0.4
    assert np.isnan(first.reference()[1:]).all()
    assert first.notes() == [
        "no row that picks winners is of class b, c: what it loses there is not known, and not bounded"
    ]
    assert asked().bound(LABELS[:3], np.array([0, 1, 2])).reference.tolist() == [3]
    assert shares_by_class(LABELS, LABELS < 2, 4)[:3].tolist() == [1, 1, 0]


def test_classes_are_expected_to_hold_what_circuits_of_their_cost_do():
    wrong = np.array([[30, 15, 6], [12, 3, 3], [6, 0, 0]])
    fold = class_curves([1.0, 2.0, 3.0], wrong, LABELS)
    assert worst_expected([fold], asked().reference(), 3.0) == pytest.approx(0.0)
    assert worst_expected([fold], asked().reference(), 1.0) == pytest.approx(1.0)
    lacking = class_curves([1.0, 2.0, 3.0], wrong[:, :2], LABELS[LABELS < 2])
    assert worst_expected([lacking], asked().reference(), 1.0) == pytest.approx(0.5)
    assert worst_expected([], asked().reference(), 1.0) == -1.0


class Sized:
    def __init__(self, path: str) -> None:
        self.path = path


def test_a_recipe_that_loses_a_small_class_is_refused():
    """The cheap one is right on all but the six rows of a class: 6 % of all rows, and the whole of that class."""
    right = np.array([LABELS != 2, np.ones(96, bool)])
    costs = np.array([1.0, 2.0])
    study = RecipeStudy(
        (Sized("cheap"), Sized("dear")), LABELS, np.arange(96) % 3, np.array([right] * 4), np.ones((4, 96), bool),
        np.array([costs] * 4), 0,
    )  # fmt: skip
    target = {"max_loss": 0.2, "reference": ANSWERS == LABELS}
    assert judged_recipes(study, 3, HeldAsked(**target), "H").pick(costs) == (0, True)
    bounded = judged_recipes(study, 3, HeldAsked(**target, classes=asked(0.5)), "H")
    assert bounded.pick(costs) == (1, True)
    assert bounded.margin[0] == pytest.approx(-0.5)
    assert class_margins(asked(0.5), right, np.arange(96)).shape == (3, 2)
    words = HeldAsked(**target, classes=asked(0.5)).asked()
    assert words == "a loss of at most 20 %, and no class more than 50 %"
