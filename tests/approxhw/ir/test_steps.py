"""Steps on disk."""

import pytest

from approxhw.artifacts.steps import read_graph, read_step, step_writer, write_step
from approxhw.common.errors import GraphError, OutputError
from approxhw.ir.pass_manager import parse_passes, run_passes
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import print_graph


def test_every_step_is_written_and_can_be_restarted_from(tmp_path):
    graph, passes = random_float_graph(1), parse_passes("printed-exact{low=-1,high=1}")
    folder = tmp_path / "steps"
    result, ledger = run_passes(graph, passes, on_step=step_writer(folder, graph))
    names = sorted(path.name for path in folder.iterdir())
    assert names[:3] == ["00_input.axir", "01_quantize_inputs.axir", "02_fold_affine.axir"]
    assert len(names) == len(ledger) + 1
    assert read_step(folder, 0) == graph
    assert read_step(folder, len(ledger)) == result
    again, _ = run_passes(read_step(folder, 2), passes, start=2)
    assert again == result


def test_a_step_of_another_name_is_replaced(tmp_path):
    write_step(tmp_path, 1, "old name", random_graph(1))
    write_step(tmp_path, 1, "fold-affine", random_graph(2))
    assert [path.name for path in tmp_path.iterdir()] == ["01_fold_affine.axir"]
    assert read_step(tmp_path, 1) == random_graph(2)


def test_missing_steps_say_what_is_there(tmp_path):
    write_step(tmp_path, 1, "fold-affine", random_graph(1))
    with pytest.raises(GraphError, match=r"step 4: 0 files of this step; steps: 01_fold_affine\.axir"):
        read_step(tmp_path, 4)


def test_a_step_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "01_fold_affine.axir").mkdir()
    with pytest.raises(OutputError, match="it cannot be written"):
        write_step(tmp_path, 1, "fold-affine", random_graph(1))
    assert [path.name for path in tmp_path.iterdir()] == ["01_fold_affine.axir"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it cannot be written"):
        write_step(tmp_path / "file", 1, "fold-affine", random_graph(1))


def test_bad_files_are_refused(tmp_path):
    path = tmp_path / "a.axir"
    with pytest.raises(GraphError, match="it cannot be read as text"):
        read_graph(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(GraphError, match="it cannot be read as text"):
        read_graph(path)
    path.write_text(print_graph(random_graph(1)).replace("output class_index", "output nil"))
    with pytest.raises(GraphError, match=r"\[order\] 'nil' does not exist"):
        read_graph(path)
