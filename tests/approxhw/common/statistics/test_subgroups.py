"""Subgroups by quarters of features and by values of a column: whose rows they are, and which of them surely loses most."""

from __future__ import annotations

import numpy as np

from approxhw.common.statistics.subgroups import Answers, column_parts, quarter_parts, worst_first


def answers(rows: int, lost: np.ndarray) -> Answers:
    labels = np.zeros(rows, dtype=np.int64)
    return Answers(labels, labels, np.where(lost, 1, 0))


def test_quarters_split_the_rows_that_judge_evenly():
    values = np.random.default_rng(1).normal(size=(800, 2))
    parts = list(quarter_parts(["a", "b"], {"train": values}, {"train": answers(800, values[:, 1] > 1)}))
    assert [part.judged.rows for part in parts] == [200] * 8
    assert {part.judged.lost for part in parts[:4]} != {0}
    lost = [part.judged.lost for part in parts[4:]]
    assert lost[:3] == [0, 0, 0]
    assert lost[3] == int((values[:, 1] > 1).sum()) > 50
    worst = worst_first(parts)[0]
    assert worst.name.startswith("b: above ")
    assert worst.told is None


def test_other_rows_go_by_the_ends_of_those_that_judge():
    train, test = np.arange(8.0)[:, None], np.array([[-5.0], [100.0], [100.0]])
    found = {"train": answers(8, np.zeros(8, bool)), "test": answers(3, np.array([True, False, True]))}
    parts = list(quarter_parts(["x"], {"train": train, "test": test}, found))
    assert [part.told.rows for part in parts] == [1, 0, 0, 2]
    assert [part.told.lost for part in parts] == [1, 0, 0, 1]


def test_features_of_few_values_have_fewer_parts():
    values = np.array([[0.0, 7.0], [0.0, 7.0], [0.0, 7.0], [1.0, 7.0]])
    parts = list(quarter_parts(["bit", "same"], {"train": values}, {"train": answers(4, np.zeros(4, bool))}))
    assert [(part.name, part.judged.rows) for part in parts] == [("bit: up to 0", 3), ("bit: above 0", 1)]


def test_a_column_has_a_group_for_each_value():
    sites = {"train": np.array(["b", "a", "b"]), "test": np.array(["c", "a"])}
    found = {"train": answers(3, np.array([True, False, True])), "test": answers(2, np.array([True, False]))}
    parts = list(column_parts("site", sites, found))
    assert [(part.name, part.judged.rows, part.told.rows) for part in parts] == [
        ("site: a", 1, 1),
        ("site: b", 2, 0),
        ("site: c", 0, 1),
    ]
    assert parts[1].judged.lost == 2
    assert parts[2].told.lost == 1


def test_a_column_of_many_numbers_has_quarters():
    ages = np.arange(100.0)
    parts = list(column_parts("age", {"train": ages}, {"train": answers(100, ages > 90)}))
    assert [part.judged.rows for part in parts] == [25] * 4
    assert parts[3].name == "age: above 74"
    few = list(column_parts("kind", {"train": np.array([1.0, 2.0])}, {"train": answers(2, np.zeros(2, bool))}))
    assert [part.name for part in few] == ["kind: 1", "kind: 2"]


def test_what_is_lost_for_sure_comes_before_what_few_rows_say():
    lost = np.zeros(202, bool)
    lost[:60] = lost[200] = True
    groups = np.array(["many"] * 200 + ["few"] * 2)
    parts = list(column_parts("g", {"train": groups}, {"train": answers(202, lost)}))
    by_loss = max(parts, key=lambda part: part.judged.loss)
    assert by_loss.name == "g: few"
    assert worst_first(parts)[0].name == "g: many"
