"""The honest rule on made-up recipes whose true accuracy is known: what is promised comes, and choosing by folds alone lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from approxhw.common.errors import InvalidDataError, OptionError
from approxhw.dse.rules.honest_rule import (
    HeldAsked,
    choose_from_study,
    choose_recipe,
    error_of_folds,
    judged_recipes,
    nested_picks,
    promised_right,
    robust_middle,
    shared_rows,
    shared_rows_note,
    smoothed_by_path,
)
from approxhw.dse.rules.recipe_study import Fitted, joined_studies, stratified_folds, study_recipes


@dataclass(frozen=True)
class MadeUp:
    """A recipe of which every circuit is right on a row by chance, with this probability."""

    truth: float
    cost: float
    path: str


def uniform(rows: np.ndarray, *salt: int) -> np.ndarray:
    """Return numbers in 0…1 that are random, but follow from the rows (numbers below 1000) and the salt."""
    return np.random.default_rng(salt).random(1000)[rows]


def made_up_fit(salt: int):
    """Return what fits made-up circuits: codes are (number of the row, its class)."""

    def fit(codes, labels, recipes, seed):
        drawn = int(codes[:, 0].sum()) % (1 << 31)

        def circuit(recipe):
            def answers(rows):
                right = uniform(rows[:, 0], salt, int(recipe.cost), drawn, seed) < recipe.truth
                return np.where(right, rows[:, 1], 1 - rows[:, 1])

            return Fitted(answers, recipe.cost, recipe)

        return [circuit(recipe) for recipe in recipes]

    return fit


def rows_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 2
    return np.column_stack([np.arange(count), labels]), labels


RECIPES = [
    MadeUp(0.80 + 0.012 * size + 0.002 * (number % 3), 10.0 * size + number, f"{number}")
    for number in range(2)
    for size in range(1, 10)
]


def test_what_is_promised_comes_and_what_folds_say_does_not():
    codes, labels = rows_of(200)
    promised, expected, within = [], [], []
    for seed in range(80):
        found = choose_recipe(
            made_up_fit(seed),
            codes,
            labels,
            RECIPES,
            HeldAsked(0.87),
            folds=5,
            seed=seed,
            rule="H",
            test_rows=150,
            fits=1,
        )
        assert isinstance(found.recipe, MadeUp)
        truth = found.recipe.truth
        seen = float((uniform(np.arange(150) + 500, seed, 77) < truth).mean())
        promised.append(truth - found.promised)
        expected.append(truth - found.expected)
        within.append(found.low <= seen <= found.high)
    # 80 promises of 200 rows each: their mean is off by .0027 (one standard error)
    assert abs(np.mean(promised)) < 0.008
    assert np.mean(expected) < np.mean(promised) - 0.005
    assert np.mean(within) >= 0.9


def test_more_doubt_holds_more_often():
    codes, labels = rows_of(300)
    held: dict[str, list[bool]] = {"H": [], "S": [], "T": []}
    for seed in range(20):
        study = study_recipes(made_up_fit(seed), codes, labels, RECIPES, seed=seed)
        for rule in held:
            found = choose_from_study(
                study, made_up_fit(seed), codes, HeldAsked(0.87), rule=rule, test_rows=150, fits=1
            )
            held[rule].append(found.recipe.truth >= 0.87)
    assert sum(held["H"]) <= sum(held["S"]) <= sum(held["T"])
    assert sum(held["T"]) >= 18


def test_a_bound_on_the_loss_has_a_margin_too():
    codes, labels = rows_of(400)
    lost = []
    for seed in range(20):
        reference = uniform(np.arange(400), seed, 5) < 0.9
        target = HeldAsked(max_loss=0.03, reference=reference)
        found = choose_recipe(made_up_fit(seed), codes, labels, RECIPES, target, seed=seed, rule="S", fits=1)
        lost.append(found.held and 0.9 - found.recipe.truth > 0.03)
    assert sum(lost) <= 5
    # a circuit that is right on the very rows on which the reference is loses nothing, however few there are
    answers = np.where(reference, labels, 1 - labels)
    same = Fitted(lambda rows: answers[rows[:, 0]], 1.0)
    found = choose_recipe(
        lambda *_: [same], codes, labels, [MadeUp(0.9, 1.0, "same")], HeldAsked(max_loss=0.03, reference=reference)
    )
    assert found.held


def test_a_target_that_nothing_holds_gives_the_best_and_says_so():
    codes, labels = rows_of(200)
    found = choose_recipe(made_up_fit(1), codes, labels, RECIPES, HeldAsked(0.999), fits=1)
    assert not found.held
    assert "there is none, so it is the most accurate" in found.rule
    assert found.recipe.truth > 0.89


def test_what_is_no_better_than_the_most_frequent_class_is_told():
    codes = np.arange(100)[:, None]
    labels = (np.arange(100) % 4 == 0).astype(np.int64)
    always = Fitted(lambda rows: np.zeros(len(rows), dtype=np.int64), 0.0)
    found = choose_recipe(lambda *_: [always], codes, labels, [MadeUp(0.75, 0.0, "")], HeldAsked(0.5))
    assert found.promised == 0.75
    assert found.notes == (
        "the chosen recipe is no better than always answering the most frequent class: 75.00 % of training rows put aside "
        "against 75.00 %",
    )


def test_a_study_fits_without_the_rows_that_judge():
    codes, labels = rows_of(60)
    seen: list[frozenset[int]] = []

    def fit(part, _, recipes, seed):
        known = frozenset(part[:, 0].tolist())
        seen.append(known)
        # right exactly on rows that it has not learnt from
        return [Fitted(lambda rows: np.where([r in known for r in rows[:, 0]], 1 - rows[:, 1], rows[:, 1]), 1.0)]

    study = study_recipes(fit, codes, labels, [MadeUp(1.0, 1.0, "")], folds=5, seed=3)
    assert len(seen) == 15
    assert {len(known) for known in seen} == {48, 36}
    for j in range(5):
        assert study.right[j][0, study.fold != j].all()
        assert not study.right[j][0, study.fold == j].any()
    assert study.right[5].all()
    assert study.costs.tolist() == [[1.0]] * 6


def test_folds_are_even_and_follow_the_seed():
    labels = np.array([0] * 23 + [1] * 9 + [2] * 2)
    fold = stratified_folds(labels, 5, 1)
    assert sorted(np.bincount(fold).tolist()) == [6, 7, 7, 7, 7]
    assert np.bincount(fold[labels == 0]).max() - np.bincount(fold[labels == 0]).min() <= 1
    assert fold.tolist() == stratified_folds(labels, 5, 1).tolist() != stratified_folds(labels, 5, 2).tolist()


def test_paths_rise():
    recipes = [MadeUp(0, cost, path) for path, cost in (("a", 1), ("a", 3), ("b", 9), ("a", 2))]
    found = smoothed_by_path(recipes, np.array([1.0, 3, 9, 2]), np.array([0.5, 0.6, 0.1, 0.7]))
    assert found == pytest.approx([0.5, 0.65, 0.1, 0.65])


def test_the_robust_middle_is_the_one_most_like_the_others():
    codes = np.arange(10)[:, None]
    circuits = [
        Fitted(lambda rows, k=k: (rows[:, 0] >= k).astype(np.int64), cost) for k, cost in ((2, 1), (5, 9), (6, 3))
    ]
    assert robust_middle(circuits, codes) is circuits[1]
    assert robust_middle(circuits[::2], codes) is circuits[0]


def test_folds_that_differ_widen_the_interval():
    fold = np.repeat(np.arange(5), 40)
    even = np.tile(np.arange(40) < 30, 5)
    uneven = np.arange(40)[None] < np.array([15, 20, 35, 40, 40])[:, None]
    assert even.mean() == uneven.mean() == 0.75

    def error(right: np.ndarray, test_rows: int | None) -> float:
        return error_of_folds([right[fold == j].mean() for j in range(5)], [40] * 5, test_rows)

    assert error(uneven.reshape(-1), 100) > 2 * error(even, 100)
    assert error(even, None) == pytest.approx((0.75 * 0.25 / 200) ** 0.5)


def test_a_rule_that_peeks_promises_more_than_comes():
    """Every recipe is as good as the others: what choosing wins is chance, and the nested promise does not count it."""
    codes, labels = rows_of(150)
    alike = [MadeUp(0.8, 10.0 + number, f"{number}") for number in range(30)]
    honest, peeking = [], []
    for seed in range(25):
        study = study_recipes(made_up_fit(seed), codes, labels, alike, seed=seed)
        nested = nested_picks(study, HeldAsked(1.0), "H")
        honest.append(promised_right(study, nested).mean())
        best, _ = judged_recipes(study, study.folds, HeldAsked(1.0), "H").pick(study.costs[-1])
        peeking.append(promised_right(study, [best] * study.folds).mean())
    # 25 promises of 150 rows each: a standard error of their mean is .0065
    assert abs(np.mean(honest) - 0.8) < 0.02
    assert np.mean(peeking) > 0.84


def test_one_fit_a_recipe_is_what_the_study_has_already():
    codes, labels = rows_of(200)
    made = []
    fit = made_up_fit(3)

    def counting(*given):
        made.append(given)
        return fit(*given)

    study = study_recipes(counting, codes, labels, RECIPES, seed=3)
    count = len(made)
    found = choose_from_study(study, counting, codes, HeldAsked(0.87), rule="H", fits=1)
    assert (count, len(made)) == (15, 16), "the circuit on all rows is the only one that lacks"
    again = choose_from_study(study, fit, codes, HeldAsked(0.87), rule="H", fits=1, kept={})
    nested = nested_picks(study, HeldAsked(0.87), "H")
    fold = stratified_folds(labels, 5, 3)
    right = np.zeros(200, dtype=bool)
    for j, place in enumerate(nested):
        circuit = fit(codes[fold != j], labels[fold != j], [RECIPES[place]], 0)[0]
        right[fold == j] = circuit.answers(codes[fold == j]) == labels[fold == j]
    assert found.promised == again.promised == right.mean()


def test_a_study_that_was_ended_says_what_it_knows():
    codes, labels = rows_of(100)
    whole = study_recipes(made_up_fit(1), codes, labels, RECIPES, seed=1)
    ended = study_recipes(
        made_up_fit(1), codes, labels, RECIPES, seed=1, each=lambda one, todo: [one(todo[0]), one(todo[1])]
    )
    assert whole.whole
    assert not ended.whole
    known = ended.judged[-1]
    assert known.sum() == (whole.fold < 2).sum() == 40
    assert np.array_equal(ended.right[-1][:, known], whole.right[-1][:, known])
    assert not ended.right[-1][:, ~known].any()
    assert np.array_equal(ended.costs[-1], [recipe.cost for recipe in RECIPES])
    both = joined_studies([whole, ended])
    assert len(both.recipes) == 2 * len(RECIPES)
    assert not both.whole
    assert np.array_equal(both.judged, ended.judged)


def test_rows_of_both_are_counted():
    training = np.array([[1.0, 2.0], [3.0, 4.0]])
    test = np.array([[3.0, 4.0], [2.0, 1.0], [3.0, 4.0], [0.0, 0.0]])
    assert shared_rows(training, test) == 2
    assert shared_rows_note(training, test[:1])[0].startswith("1 of 1 test rows (100.0 %) are training rows, too")
    assert shared_rows_note(training, test[1:2]) == []


def test_what_is_wrong_is_told():
    codes, labels = rows_of(8)
    with pytest.raises(InvalidDataError, match="8 training rows are too few for 5 folds"):
        choose_recipe(made_up_fit(0), codes, labels, RECIPES, HeldAsked(0.5))
    with pytest.raises(InvalidDataError) as error:
        study_recipes(made_up_fit(0), codes, labels[:-1], [], folds=2)
    for text in ("7 of them for 8 rows", "2 of them; nested ones take 3 or more", "there is none to choose from"):
        assert text in str(error.value)
    with pytest.raises(OptionError, match="one of accuracy and max_loss is asked for"):
        HeldAsked()
    with pytest.raises(OptionError, match="needs the rows on which the reference is right"):
        HeldAsked(max_loss=0.1)
    with pytest.raises(OptionError, match="there is no 'Q'; there are H, S, T"):
        choose_recipe(made_up_fit(0), *rows_of(40), RECIPES[:2], HeldAsked(0.5), rule="Q")
