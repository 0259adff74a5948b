"""Teachers: fitted on the rows that learners get alone, copies that are one off, and what is out of reach."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.common.errors import OptionError
from approxhw.dse.rules.honest_rule import Fitted, study_recipes
from approxhw.networks.families.table import FamilyRecipe, fit_recipes
from approxhw.networks.families.teaching import Teaching, noisy_copies, taught_rows
from approxhw.networks.trees.families import TreeFitting


def test_copies_are_one_off_and_stay_codes():
    codes = np.random.default_rng(1).integers(0, 16, (100, 3))
    copies = noisy_copies(codes, 4, 0.5, 4, seed=7).reshape(4, 100, 3)
    assert np.array_equal(copies[0], codes)
    assert np.abs(copies - codes).max() == 1
    assert copies.min() >= 0
    assert copies.max() <= 15
    share = float((copies[1:] != codes).mean())
    assert 0.4 < share < 0.5  # of codes at an end, half of the moves stay there
    assert np.array_equal(noisy_copies(codes, 4, 0.5, 4, seed=7), copies.reshape(-1, 3))


def test_learners_learn_what_the_teacher_says():
    codes = np.random.default_rng(2).integers(0, 16, (200, 2))
    labels = (codes[:, 0] > 7).astype(np.int64)

    def contrary(rows, classes):
        assert np.array_equal(rows, codes)
        assert np.array_equal(classes, labels)
        return lambda asked: (asked[:, 0] <= 7).astype(np.int64)

    copies, classes = taught_rows(codes, labels, Teaching(contrary, copies=3), 4)
    assert len(copies) == len(classes) == 600
    (made,) = fit_recipes(codes, labels, [FamilyRecipe("tree", 0.001, 2)], TreeFitting(2), teaching=Teaching(contrary))
    assert (made.answers(codes) == 1 - labels).all()


def test_teachers_of_folds_see_no_row_that_judges():
    rng = np.random.default_rng(3)
    codes = np.column_stack([rng.permutation(90), np.zeros(90, dtype=np.int64)])
    labels = rng.integers(0, 2, 90)
    fits = []

    def fit(part, classes, recipes, seed):
        seen = []

        def teacher(rows, _):
            seen.append(set(rows[:, 0].tolist()))
            return lambda asked: np.zeros(len(asked), dtype=np.int64)

        fitting = TreeFitting(2, bits=7, starts=1)
        made = fit_recipes(part, classes, recipes, fitting, seed, Teaching(teacher, copies=2, noise=0.0))

        def answers(rows):
            assert not seen[0] & set(rows[:, 0].tolist())
            return made[0].answers(rows)

        fits.append(len(seen[0]))
        return [Fitted(answers, made[0].area_mm2)]

    study_recipes(fit, codes, labels, [FamilyRecipe("tree", 0.001, 3)], seed=1)
    assert sorted(fits) == [54] * 10 + [72] * 5


def test_teaching_out_of_reach():
    with pytest.raises(OptionError, match=r"65 is not in 1…64") as caught:
        Teaching(lambda codes, labels: lambda rows: rows[:, 0], copies=65, noise=2.0)
    assert "2 is not in 0…1" in str(caught.value)
