"""Checkpoints: a search that was killed goes on to the very same front; whatever is not its checkpoint is refused."""

import functools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from approxhw.artifacts.objectives import CIRCUIT
from approxhw.common.errors import CheckpointError, OutputError
from approxhw.dse.genetic import checkpoint as module
from approxhw.dse.genetic.evolution import evolve
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.genetic.problem import default_toolbox
from approxhw.networks.area_model import default_model
from approxhw.networks.costs import Inputs

OPTIONS = GeneticOptions(population=40, generations=10, islands=2, migration_every=3, migrants=2)

SEARCH = """
import functools, sys
import numpy as np
from approxhw.networks.area_model import default_model
from approxhw.dse.genetic.evolution import evolve
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.genetic.problem import NetworkProblem as Problem
from approxhw.networks.space import make_space

rows, checkpoint = sys.argv[1:]
data, space = np.load(rows), make_space((5, 3, 3))
area = functools.partial(default_model().area_mm2, space.layout, space.head)
problem = Problem(space, data["codes"], data["labels"], 20, area, data["starts"], "a random network")
told = lambda record: print(record.generation, flush=True)
evolve(problem, GeneticOptions(population=400, generations=1000, islands=2), checkpoint=checkpoint, on_generation=told)
"""


@pytest.fixture
def problem(make_problem):
    return make_problem()


def refusal(problem, path, options=OPTIONS, toolbox=None):
    """Return the text of the error that going on from *path* raises."""
    before = path.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        evolve(problem, options, toolbox, checkpoint=path, resume=True)
    assert path.read_bytes() == before  # nothing is lost
    assert caught.value.exit_code == 15
    return str(caught.value)


def altered(path, change):
    """Write *path* anew after *change* of its arrays and of what it tells."""
    with np.load(path) as file:
        arrays = dict(file)
    told = json.loads(arrays.pop("meta").tobytes())
    change(arrays, told)
    np.savez(path, meta=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)


@pytest.mark.parametrize("generation", [0, 3, 9, 10])
def test_resuming_at_any_generation_gives_the_front_of_an_uninterrupted_search(problem, tmp_path, generation):
    whole, path, told = evolve(problem, OPTIONS), tmp_path / "new" / "search.npz", []
    first = evolve(problem, replace(OPTIONS, generations=generation), checkpoint=path)
    assert first.generations == generation
    resumed = evolve(problem, OPTIONS, checkpoint=path, resume=True, on_generation=told.append)
    assert [record.generation for record in told] == list(range(generation, 11))  # the last one is told again
    assert resumed.genomes.tobytes() == whole.genomes.tobytes()
    assert resumed.errors.tobytes() == whole.errors.tobytes()
    assert resumed.areas_mm2.tobytes() == whole.areas_mm2.tobytes()
    assert resumed.logbook == whole.logbook
    assert resumed.evaluations == whole.evaluations
    assert resumed.seconds > 0
    for a, b in zip(resumed.islands, whole.islands):
        assert a.generator == b.generator
        assert a.genomes.tobytes() == b.genomes.tobytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["search.npz"]


def test_a_search_killed_in_mid_generation_goes_on_to_the_same_front(problem, tmp_path):
    rows, path, fronts = tmp_path / "rows.npz", tmp_path / "search.npz", []
    np.savez(rows, codes=problem.codes, labels=problem.labels, starts=problem.starts)
    reached = 0
    for kill_at in (2, 5):
        child = subprocess.Popen([sys.executable, "-c", SEARCH, rows, path], stdout=subprocess.PIPE, text=True)
        try:
            for line in child.stdout:
                if int(line) >= kill_at:
                    time.sleep(0.003)  # into the next generation, or the writing of its checkpoint
                    child.send_signal(signal.SIGKILL)
                    break
            reached = int(line)
        finally:
            child.kill()
            child.wait()
        assert child.returncode == -signal.SIGKILL
    options = GeneticOptions(population=400, generations=reached + 6, islands=2)
    whole = evolve(problem, options)
    resumed = evolve(
        problem, options, checkpoint=path, resume=True, on_generation=lambda r: fronts.append(r.generation)
    )
    assert fronts[0] >= reached > 0  # it did go on, not start anew
    assert resumed.genomes.tobytes() == whole.genomes.tobytes()
    assert resumed.areas_mm2.tobytes() == whole.areas_mm2.tobytes()


def test_without_resume_a_search_starts_anew_and_without_a_checkpoint_resume_starts(problem, tmp_path):
    path, told = tmp_path / "search.npz", []
    evolve(problem, OPTIONS, checkpoint=path)
    evolve(problem, OPTIONS, checkpoint=path, on_generation=lambda record: told.append(record.generation))
    assert told[0] == 0
    path.unlink()
    found = evolve(problem, OPTIONS, checkpoint=path, resume=True)
    assert found.generations == 10


def test_all_that_differs_is_told_at_once(make_problem, tmp_path):
    path = tmp_path / "search.npz"
    problem = make_problem()
    evolve(problem, OPTIONS, checkpoint=path)
    other = make_problem(seed=4)
    toolbox = default_toolbox(other, OPTIONS)
    toolbox.register("mutate", lambda genomes, generator: genomes)
    text = refusal(other, path, replace(OPTIONS, seed=2, islands=3, max_accuracy_loss=0.1), toolbox)
    assert f"{path}: 6 problems" in text
    assert "model: the checkpoint is of another model or other start genomes" in text
    assert "data: the checkpoint is of other training rows" in text
    assert "seed: the checkpoint was made with 1, this search with 2" in text
    assert "islands: the checkpoint was made with 2, this search with 3" in text
    assert "max_accuracy_loss: the checkpoint was made with 0.05, this search with 0.1" in text
    assert "mutate: the checkpoint was made with approxhw.dse.genetic.operators.mutate, this search with" in text
    assert "give the same option, or start again without --resume" in text


def test_one_row_one_start_or_one_label_is_another_search(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    labels = problem.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    starts = problem.starts.copy()
    starts[0, 0] ^= 1
    for changed, name in ((replace(problem, labels=labels), "data"), (replace(problem, starts=starts), "model")):
        text = refusal(changed, path)
        assert f"{path}: 1 problem\n  {name}: " in text
    assert "data: " in refusal(replace(problem, reference_errors=21), path)
    assert "model: " in refusal(replace(problem, model="another"), path)


def test_another_area_model_is_noticed(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    model = default_model()
    dearer = replace(model, coefficients=tuple(1.01 * value for value in model.coefficients))
    area = functools.partial(dearer.area_mm2, problem.space.layout, problem.space.head)
    dearer = replace(problem, area=area)
    assert "objectives: its genomes have other errors or another area today than the checkpoint tells" in refusal(
        dearer, path
    )


def test_a_checkpoint_of_another_version_or_format_is_refused(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    altered(path, lambda arrays, told: told["identity"].update(version="0.0.1"))
    text = refusal(problem, path)
    assert "version: the checkpoint was written by approxhw 0.0.1, this is" in text
    altered(path, lambda arrays, told: told.update(format=99))
    assert "it is of format 99; this version of approxhw reads format 2" in refusal(problem, path)


def test_a_checkpoint_that_went_further_is_refused(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    text = refusal(problem, path, replace(OPTIONS, generations=9))
    assert "generations: the checkpoint is at generation 10, 9 are asked for\n    do: ask for 10 or more" in text


def test_any_cut_off_file_is_refused(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        text = refusal(problem, path)
        assert "it is no whole npz file" in text
        assert "start again without --resume, or with another folder" in text


def test_any_flipped_byte_is_refused_or_harmless(problem, tmp_path):
    path = tmp_path / "search.npz"
    options = replace(OPTIONS, population=8, generations=1)
    evolve(problem, options, checkpoint=path)
    whole, same, refused = path.read_bytes(), 0, 0
    expected = evolve(problem, options).genomes.tobytes()
    for place in np.random.default_rng(1).integers(0, len(whole), 150).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            found = evolve(problem, options, checkpoint=path, resume=True)
        except CheckpointError:
            refused += 1
        else:  # a time stamp of the zip file, say
            assert found.genomes.tobytes() == expected
            same += 1
    assert refused > 100
    assert refused + same == 150


def test_every_forged_part_is_named(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)

    def change(arrays, told):
        arrays["genomes_0"] = arrays["genomes_0"] + np.int32(1 << 29)
        arrays["objectives_0"] = arrays["objectives_0"].astype(np.float64)
        del arrays["archive_1"]
        told["islands"][1]["generator"][1] = "2"

    altered(path, change)
    text = refusal(problem, path)
    assert f"{path}: 4 problems" in text
    assert "island 0, genomes: it holds values out of their bounds" in text
    assert "island 0, objectives: it has shape (20, 2) and type float64, not 2 columns of int64" in text
    assert "island 1, archive: it is not there" in text
    assert "island 1, state: it is no state of a generator (a number is out of bounds)" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, told: told.pop("records"),
        lambda arrays, told: told.update(records=[{"generation": 1}]),
        lambda arrays, told: told.update(identity=[]),
        lambda arrays, told: told.update(islands=[3]),
        lambda arrays, told: told.update(seconds="soon"),
    ],
)
def test_a_file_that_tells_something_else_is_no_checkpoint(problem, tmp_path, change):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    altered(path, change)
    text = refusal(problem, path)
    assert "it is no checkpoint of a search" in text or "version: the checkpoint was written by approxhw None" in text


def test_other_files_are_no_checkpoints(problem, tmp_path):
    path = tmp_path / "search.npz"
    np.savez(path, X=np.zeros(3))
    assert "it is no checkpoint of a search" in refusal(problem, path)
    path.write_text("front")
    assert "it is no whole npz file" in refusal(problem, path)
    np.savez(path, meta=np.array([{"format": 1}], dtype=object), allow_pickle=True)
    assert "it holds Python objects, which are pickled code; approxhw never unpickles" in refusal(problem, path)


def test_islands_out_of_step_are_refused(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, OPTIONS, checkpoint=path)
    altered(path, lambda arrays, told: told["islands"][0].update(generation=4))
    assert "islands: they are at different generations: [4, 10]" in refusal(problem, path)


def test_a_checkpoint_that_cannot_be_written_is_one_clear_error(problem, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it cannot be written"):
        evolve(problem, OPTIONS, checkpoint=tmp_path / "file" / "search.npz")
    path = tmp_path / "search.npz"
    evolve(problem, replace(OPTIONS, generations=2), checkpoint=path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        evolve(problem, OPTIONS, checkpoint=path, resume=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if "part" in entry.name] == []


def with_three(problem):
    """The same problem with the features that are read as a third objective."""
    objectives = tuple(CIRCUIT[name] for name in ("errors", "area", "inputs"))
    return replace(problem, objectives=objectives, costs=(problem.area, Inputs(problem.space)))


def test_a_search_of_three_objectives_resumes_to_the_same_front_and_none_beats_another(problem, tmp_path):
    three, path = with_three(problem), tmp_path / "search.npz"
    whole = evolve(three, OPTIONS)
    evolve(three, replace(OPTIONS, generations=4), checkpoint=path)
    resumed = evolve(three, OPTIONS, checkpoint=path, resume=True)
    assert resumed.genomes.tobytes() == whole.genomes.tobytes()
    assert resumed.values.tobytes() == whole.values.tobytes()
    assert resumed.logbook == whole.logbook
    values = whole.values
    assert values.shape[1] == 3
    for i, one in enumerate(values):
        for j, other in enumerate(values):
            assert i == j or not (one <= other).all(), "no copy, and none that another beats"
    assert values.tolist() == sorted(values.tolist())
    assert (whole.estimated("inputs") == Inputs(problem.space)(whole.genomes)).all()
    assert set(whole.logbook[0]) >= {"median_inputs", "least_inputs", "least_um2"}


def test_a_checkpoint_of_other_objectives_or_of_before_there_were_any_is_refused(problem, tmp_path):
    path = tmp_path / "search.npz"
    evolve(problem, replace(OPTIONS, generations=1), checkpoint=path)
    text = refusal(with_three(problem), path)
    assert "objectives: the checkpoint is of errors,area, this search of errors,area,inputs" in text
    assert "give the same objectives" in text
    altered(path, lambda arrays, told: told.update(format=1))
    assert "search.npz: it is of format 1; this version of approxhw reads format 2" in refusal(problem, path)
