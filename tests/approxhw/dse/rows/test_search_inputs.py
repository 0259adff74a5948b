"""What keeps a search from beginning: options, rows and folders, every fault at once and nothing touched."""

from __future__ import annotations

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.data.dataset import Dataset, fold_rows, split_rows
from approxhw.common.errors import InvalidDataError, OptionError, OutputError
from approxhw.dse.rows.split_rows import search_rows


def _dataset(labels, rows=None, **more) -> Dataset:
    labels = np.array(labels, dtype=np.int64)
    rows = np.random.default_rng(1).random((len(labels), 4)) if rows is None else rows
    return Dataset(rows, labels, np.zeros((0, 4)), np.zeros(0, np.int64), name="given", **more)


@pytest.fixture(scope="module")
def graph(iris):
    return ax.read(iris.model)


def test_rows_of_one_class_are_no_task(graph):
    with pytest.raises(InvalidDataError) as caught:
        search_rows(_dataset([1] * 30), graph, 0.25, 1)
    assert str(caught.value) == (
        "given: 1 problem\n  y_train: all 30 training rows are of class 1, and a wire would classify them\n"
        "    do: give rows of at least two classes"
    )


def test_fewer_rows_than_classes_and_one_class_are_told_together(graph):
    with pytest.raises(InvalidDataError) as caught:
        search_rows(_dataset([2, 2]), graph, 0.25, 1)
    assert len(caught.value.problems) == 2
    assert "2 training rows for 3 classes" in str(caught.value)


def test_test_rows_alone_are_nothing_to_learn_from(graph, iris, tmp_path):
    with np.load(iris.data) as stored:
        data = {key: stored[key] for key in ("X_test", "y_test")}
    with pytest.raises(InvalidDataError, match="there are no training rows, and a search learns from them"):
        ax.search(iris.model, data=data, output=tmp_path / "front", population=8, islands=1)
    assert list(tmp_path.iterdir()) == []


def test_constant_features_and_missing_classes_are_noted(graph):
    data = _dataset([0, 0, 1, 1] * 10, features=("a", "b", "c", "d"))
    data.X_train[:, [0, 2]] = 3.5
    rows = search_rows(data, graph, 0.25, 1)
    assert rows.notes == (
        "2 features are the same in every training row: a, c",
        "no training row is of class 2: circuits may never answer that",
    )


def test_validation_rows_are_split_off_by_class_and_by_seed():
    labels = np.repeat([0, 1, 2], [40, 20, 1])
    fit, validation = split_rows(labels, 0.25, 7)
    assert np.array_equal(np.sort(np.concatenate([fit, validation])), np.arange(61))
    assert np.bincount(labels[validation], minlength=3).tolist() == [10, 5, 0]
    assert all(np.array_equal(a, b) for a, b in zip((fit, validation), split_rows(labels, 0.25, 7)))
    assert not np.array_equal(validation, split_rows(labels, 0.25, 8)[1])
    assert len(split_rows(labels, 0.0, 7)[1]) == 0


def test_folds_hold_out_other_rows_of_every_class():
    labels = np.random.default_rng(3).integers(0, 4, 203)
    folds = fold_rows(labels, 0.2, 5, 7)
    assert all(np.array_equal(a, b) for a, b in zip(folds[0], split_rows(labels, 0.2, 7)))
    held = np.concatenate([validation for _, validation in folds])
    assert np.array_equal(np.sort(held), np.arange(203)), "five folds of a fifth are all rows, each once"
    for fit, validation in folds:
        assert np.array_equal(np.sort(np.concatenate([fit, validation])), np.arange(203))
        for label in range(4):
            assert abs((labels[validation] == label).sum() - 0.2 * (labels == label).sum()) <= 1
    few = fold_rows(np.array([0, 0, 1]), 0.5, 2, 1)
    assert all({0, 1} <= set(np.array([0, 0, 1])[fit].tolist()) for fit, _ in few), (
        "each class stays among those searched on"
    )


def test_passes_never_see_the_rows_that_pick_winners(graph):
    data = _dataset([0, 1, 2] * 20)
    rows = search_rows(data, graph, 0.25, 1)
    splits = rows.splits()
    assert len(splits["validation"][1]) == 15
    assert np.array_equal(rows.searched().X_train, splits["train"][0])
    seen = {row.tobytes() for row in rows.searched().X_train}
    assert not any(row.tobytes() in seen for row in splits["validation"][0])
    assert len(splits["all"][1]) == 60


def test_all_options_that_are_wrong_are_told_at_once(iris, tmp_path):
    with pytest.raises(OptionError) as caught:
        ax.search(
            iris.model,
            data=iris.data,
            output=tmp_path / "front",
            population=2,
            seed=-1,
            max_accuracy_loss="5",
            target_accuracy="ninety",
            validation_share=0.95,
            jobs=0,
            members=0,
            synthesise_every=-1,
            simulate=("questa",),
            mutations=3,
        )
    wrong = [problem.where for problem in caught.value.problems]
    assert {"seed", "max_accuracy_loss", "target_accuracy", "validation_share", "jobs", "members"} <= set(wrong)
    assert {"synthesise_every", "simulate", "mutations"} <= set(wrong)
    assert "mutations: there is no such option; did you mean 'mutation'?" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_more_folds_than_rows_allow_are_refused(iris, tmp_path):
    with pytest.raises(OptionError, match="4 folds of 30 % are more than all training rows\n    do: at most 3, or"):
        ax.search(iris.model, data=iris.data, output=tmp_path / "front", validation_share="30%", folds=4)
    with pytest.raises(OptionError, match="folds: 0 is no integer of 1 or more"):
        ax.search(iris.model, data=iris.data, output=tmp_path / "front", folds=0)


def test_the_command_line_tells_them_too(iris, cli):
    result = cli(
        "search", iris.model, "--data", iris.data, "--population", 1, "--max-accuracy-loss", "200%", "--jobs", 0
    )
    assert result.exit_code == 2
    for text in (
        "max_accuracy_loss: '200%' is no share from 0 to 1",
        "population",
        "jobs: 0 is no integer of 1 or more",
    ):
        assert text in result.stderr
    result = cli("search", iris.model)
    assert result.exit_code == 2
    assert "Missing option '--data'" in result.stderr


def test_resuming_needs_a_checkpoint(iris, tmp_path):
    with pytest.raises(OptionError, match="there is no checkpoint of a search to go on from"):
        ax.search(iris.model, data=iris.data, output=tmp_path / "front", resume=True)
    assert not (tmp_path / "front").exists()


def test_what_is_no_front_is_not_written_over(iris, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_bytes(b"one")
    with pytest.raises(OutputError, match="it exists and was not written by approxhw"):
        ax.search(iris.model, data=iris.data, output=tmp_path / "photos")
    assert (tmp_path / "photos/one.jpg").read_bytes() == b"one"


def test_a_library_that_is_not_there_is_found_before_the_search(iris, cli):
    result = cli("search", iris.model, "--data", iris.data, "--library", "egfat")
    assert result.exit_code != 0
    assert "did you mean" in result.stderr or "egfet" in result.stderr
