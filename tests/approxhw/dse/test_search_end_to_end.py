"""A whole search: the front that is written, the members that are compiled, workers, resuming, Ctrl-C and kills."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from programs import heeded

import approxhw as ax
from approxhw.backends.estimate import load_library, synthesise
from approxhw.common.errors import CheckpointError, InvalidDesignError, MismatchError, ToolNotFoundError
from approxhw.dse.genetic.options import Seeding
from approxhw.ir.evaluation import accuracy

KEYS = {"test_accuracy", "validation_accuracy", "area_mm2", "power_mw", "inputs", "design"}
FEW = Seeding(starts=2, moves=300)
SMALL = {
    "folds": 1,
    "population": 16,
    "generations": 5,
    "synthesise_every": 2,
    "members": 3,
    "synthesised": 4,
    "simulate": (),
    "seeding": FEW,
}


def genomes(folder: Path) -> bytes:
    return (folder / "front.npz").read_bytes()


def test_the_front_is_whole_on_disk(found):
    there = {path.name for path in found.folder.iterdir()}
    assert there == {"checkpoint", "front.csv", "front.json", "front.npz", "members", "report.html"}
    assert ax.open_front(found.folder).as_json() == found.as_json()
    assert [path.name for path in found.folder.parent.iterdir()] == ["front"], "nothing is left beside it"
    assert 2 <= len(found.members) <= 3
    assert found.front.evaluations == 16 * 6
    assert found.front.generations == 5
    assert not found.front.interrupted
    assert {"read", "passes", "evolve", "refine", "synthesise", "compile"} <= set(found.front.seconds)


def test_no_member_beats_another_in_area_and_accuracy(found):
    areas = [member.area_mm2 for member in found.members]
    rates = [member.accuracy for member in found.members]
    assert areas == sorted(areas)
    assert all(a <= b for a, b in itertools.pairwise(rates))


def test_figures_of_members_are_those_of_their_designs(found, iris):
    data = ax.load_dataset(iris.data)
    for member in found.members:
        design = member.design
        assert member.test_accuracy == accuracy(design.design.graph, data.X_test, data.y_test)
        assert design.accuracy["hardware"] == member.test_accuracy
        told = json.loads((design.folder / "estimate/egfet.json").read_text())
        assert told["area_mm2"] == member.area_mm2
        assert told["power_mw"] == member.power_mw
        assert told["netlist_mismatches"] == 0
        assert told["netlist_vectors"] >= len(data.X_train)
        assert member.inputs == len(design.design.inputs) <= 4
        assert member.converters_power_mw == pytest.approx(1.25 * member.inputs)
        names = [row["name"] for row in design.design.ledger]
        assert names == ["quantize-inputs", "fold-affine", "power-of-two", "search", "drop-constant", "narrow-formats"]
    shares = [member.validation_accuracy * found.front.data["rows"]["validation"] for member in found.members]
    assert np.allclose(shares, np.round(shares))


def test_members_have_no_input_that_decides_nothing(found):
    cells, ports = load_library("egfet"), 0
    for member in found.members:
        design = member.design.design
        read = synthesise(design.verilog, design.top, cells, timeout=100).bits_read()
        assert all(read[port.name] for port in design.inputs)
        ports += len(design.inputs)
    assert ports > 0


def test_the_chosen_member_is_marked_once_by_the_rule(found):
    reference = found.front.onnx["validation"]
    held = [member for member in found.members if member.accuracy >= reference - 0.05 - 1e-12]
    best = held[0] if held else max(found.members, key=lambda member: member.accuracy)
    assert found.chosen.index == best.index
    assert "the smallest circuit that loses at most 5 % against the model on validation rows" in found.front.rule


@pytest.mark.slow
def test_a_target_accuracy_marks_what_is_expected_to_hold_it(iris, passes, tmp_path):
    result = ax.search(
        iris.model, data=iris.data, output=tmp_path / "front", passes=ax.parse_passes(passes), jobs=1,
        target_accuracy="100%", **SMALL,
    )  # fmt: skip
    best = max(result.members, key=lambda member: member.accuracy)
    assert result.chosen.index == best.index
    assert any("no circuit holds what was asked of the chosen one" in text for text in result.front.warnings)
    assert "expected to hold an accuracy of 100.00 %" in result.front.rule


def test_a_bound_that_nothing_meets_is_told_and_the_best_is_given(iris, cli, tmp_path):
    poor = "quantize-inputs,fold-affine,power-of-two{epochs=0,starts=1,exponents=1}"
    result = cli(
        "search", iris.model, "--data", iris.data, "-o", tmp_path / "front", "--passes", poor, "--population", 8, "--folds", 1,
        "--generations", 0, "--max-accuracy-loss", "0%", "--islands", 2, "--jobs", 1, "--no-simulate",
        "--starts", 0, "--synthesised", 4,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    front = ax.open_front(tmp_path / "front").front
    assert not front.bound_met
    best = max(member.train_accuracy for member in front.members)
    assert best < front.onnx["train"]
    told = f"nothing keeps within 0 % of the model's accuracy on training rows ({100 * front.onnx['train']:.2f} %)"
    assert told in front.warnings[0]
    assert "note: nothing keeps within 0 %" in result.stderr
    assert "members/00" in result.stdout


def test_json_has_the_promised_keys(iris, passes, cli, tmp_path):
    words = (
        "--folds",
        1,
        "--population",
        16,
        "--generations",
        2,
        "--jobs",
        1,
        "--members",
        2,
        "--no-simulate",
        "--json",
    )
    words = (*words, "--starts", 1, "--moves", 300, "--synthesised", 4)
    result = cli("search", iris.model, "--data", iris.data, "-o", tmp_path / "front", "--passes", passes, *words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert set(told["chosen"]) >= KEYS
    assert all(set(member) >= KEYS for member in told["front"])
    assert told["chosen"] in told["front"]
    assert told["evaluations"] == 16 * 3
    assert told["seconds"] > 0
    for member in told["front"]:
        assert ax.open_design(member["design"]).accuracy["hardware"] == member["test_accuracy"]


@pytest.fixture(scope="module")
def folded(iris, passes, tmp_path_factory):
    """A front of three folds."""
    common = {"data": iris.data, "passes": ax.parse_passes(passes), **SMALL, "folds": 3}
    return ax.search(iris.model, output=tmp_path_factory.mktemp("folded") / "front", jobs=1, **common)


@pytest.mark.slow
def test_folds_put_other_rows_aside_and_share_the_work(folded):
    assert folded.front.data["folds"] == 3
    assert folded.front.data["rows"]["validation"] == 3 * 21
    assert folded.front.evaluations == 3 * 6 * max(16 // 3, 4 * 4), "each fold has its share, but four an island"
    assert folded.front.generations == 3 * 5
    assert {record["fold"] for record in folded.front.history} == {0, 1, 2}
    assert {path.name for path in (folded.folder / "checkpoint").iterdir()} == {"fold-0", "fold-1", "fold-2"}
    assert all(member.fold in (0, 1, 2) for member in folded.members)
    for member in folded.members:
        # what a member validates on is its own fold's share of the rows, and nothing it was optimised on
        share = member.validation_accuracy * 21
        assert share == pytest.approx(round(share))


@pytest.mark.slow
def test_a_search_that_is_stopped_in_its_second_fold_goes_on_to_the_same_front(folded, iris, passes, tmp_path):
    from approxhw.dse.evolve import Hooks

    common = {"data": iris.data, "passes": ax.parse_passes(passes), "jobs": 1, **SMALL, "folds": 3}
    seen: list[int] = []
    hooks = Hooks(on_generation=lambda record: seen.append(record.generation), stop=lambda: len(seen) == 9)
    first = ax.search(iris.model, output=tmp_path / "front", hooks=hooks, **common)
    assert seen == [0, 1, 2, 3, 4, 5, 5, 6, 7], "generations of the second fold follow those of the first"
    assert first.front.interrupted
    assert {member.fold for member in first.members} <= {0, 1}
    second = ax.search(iris.model, output=tmp_path / "front", resume=True, **common)
    assert genomes(second.folder) == genomes(folded.folder)


@pytest.mark.slow
def test_workers_and_seeds(found, iris, passes, tmp_path):
    common = {"data": iris.data, "passes": ax.parse_passes(passes)}
    same = ax.search(iris.model, output=tmp_path / "same", jobs=2, **common, **SMALL)
    assert genomes(same.folder) == genomes(found.folder)
    assert (same.folder / "front.csv").read_bytes() == (found.folder / "front.csv").read_bytes()
    other = ax.search(iris.model, output=tmp_path / "other", jobs=1, seed=2, **common, **SMALL)
    assert genomes(other.folder) != genomes(found.folder)


@pytest.mark.slow
def test_a_search_that_is_stopped_leaves_a_front_and_goes_on_to_the_same_one(found, iris, passes, tmp_path):
    from approxhw.dse.evolve import Hooks

    seen: list[int] = []
    hooks = Hooks(on_generation=lambda record: seen.append(record.generation), stop=lambda: len(seen) == 4)
    common = {"data": iris.data, "output": tmp_path / "front", "passes": ax.parse_passes(passes), "jobs": 1}
    first = ax.search(iris.model, hooks=hooks, **common, **SMALL)
    assert seen == [0, 1, 2, 3]
    assert first.front.interrupted
    assert first.front.generations == 3
    assert any("--resume goes on from there" in text for text in first.front.warnings)
    assert len(ax.open_front(tmp_path / "front").members) >= 1
    second = ax.search(iris.model, resume=True, **common, **SMALL)
    assert not second.front.interrupted
    assert genomes(second.folder) == genomes(found.folder)


@pytest.mark.parametrize("kind", ["other rows", "other options", "cut short", "kept genomes", "out of bounds"])
def test_a_checkpoint_that_does_not_fit_is_refused_and_the_front_stays(kind, front, iris, passes):
    common = {"output": front, "passes": ax.parse_passes(passes), "jobs": 1, "resume": True}
    data = iris.data
    options = {**SMALL, "generations": 7}
    if kind == "other rows":
        with np.load(iris.data) as stored:
            data = {key: stored[key] for key in stored.files}
        data["y_train"] = np.roll(data["y_train"], 1)
    elif kind == "other options":
        options["population"] = 20
    elif kind == "out of bounds":
        path = front / "checkpoint/fold-0/synthesised.npz"
        with np.load(path) as stored:
            kept = {key: stored[key] for key in stored.files}
        assert set(kept["generations"].tolist()) == {2, 4}, "what was synthesised on the way is kept"
        kept["genomes"][0, 0] = 1 << 20
        np.savez(path, **kept)
    else:
        path = front / "checkpoint/fold-0" / ("search.npz" if kind == "cut short" else "synthesised.npz")
        path.write_bytes(path.read_bytes()[:-200])
    before = (front / "front.json").read_bytes()
    with pytest.raises(CheckpointError):
        ax.search(iris.model, data=data, **common, **options)
    assert (front / "front.json").read_bytes() == before
    assert ax.open_front(front).members


@pytest.mark.slow
def test_an_earlier_front_is_replaced_only_by_a_whole_one(front, iris, passes, monkeypatch):
    before = (front / "front.json").read_bytes()
    options = {**SMALL, "generations": 1}
    common = {"data": iris.data, "output": front, "passes": ax.parse_passes(passes), "jobs": 1}

    def broken(*_: object, **__: object) -> None:
        raise ToolNotFoundError("yosys", "gone")

    with monkeypatch.context() as patch:
        patch.setattr("approxhw.dse.families.circuits.estimate_synthesised", broken)
        with pytest.raises(ToolNotFoundError):
            ax.search(iris.model, **common, **options)
    assert (front / "front.json").read_bytes() == before
    result = ax.search(iris.model, **common, **options)
    assert result.front.generations == 1
    assert [path.name for path in front.parent.iterdir() if path.name.startswith(".")] == []


def test_a_member_is_compiled_into_a_folder_of_its_own(found, cli, tmp_path, icarus):
    chosen = found.within("100%")
    plain = chosen.compile(tmp_path / "plain")
    assert plain.verilog == chosen.design.verilog
    assert ax.open_design(tmp_path / "plain").accuracy == plain.accuracy
    clocked = found.knee().compile(tmp_path / "clocked", registers=True)
    assert clocked.design.latency == 2
    assert clocked.simulate("icarus", random=50).mismatches == 0
    assert (tmp_path / "clocked").is_dir()
    result = cli("compile", found.folder, "--pick", "knee", "-o", "knee", "--no-simulate", "--no-estimate", "--json")
    assert result.exit_code == 0, result.output
    assert ax.open_design("knee").verilog == found.knee().design.verilog
    assert json.loads(result.stdout)["accuracy"]["hardware"] == found.knee().test_accuracy


def test_wrong_picks_and_options_for_fronts(found, cli):
    result = cli("compile", found.folder, "--pick", "elbow", "-o", "out")
    assert result.exit_code == 2
    assert "--pick: 'elbow' is no pick" in result.stderr
    result = cli("compile", found.folder, "--data", "x.npz", "--weight-bits", 4)
    assert result.exit_code == 2
    assert "--data: is for models; the members of a front are compiled already" in result.stderr
    assert "--weight-bits" in result.stderr
    result = cli("compile", "nowhere", "--pick", "knee")
    assert result.exit_code == 9
    assert not Path("out").exists()


@pytest.mark.slow
def test_every_member_passes_both_simulators(found, iris, passes, tmp_path, icarus, verilator):
    result = ax.search(
        iris.model, data=iris.data, output=tmp_path / "front", passes=ax.parse_passes(passes), jobs=1,
        **{**SMALL, "simulate": ("icarus", "verilator"), "require_tools": True},
    )  # fmt: skip
    assert genomes(result.folder) == genomes(found.folder)
    for member in result.members:
        assert set(member.simulated) == {"icarus", "verilator"}
        for simulator, vectors in member.simulated.items():
            verdict = json.loads((member.design.folder / f"simulation/{simulator}/verdict.json").read_text())
            assert verdict["vectors"] == vectors > 0
            assert verdict["mismatches"] == 0
        page = (member.design.folder / "report.html").read_text()
        assert "✓ equal" in page
        assert str(tmp_path / "front") in page


def test_a_member_whose_hardware_differs_is_named(found, tmp_path, icarus):
    from dataclasses import replace

    from approxhw.dse.families.circuits import simulate_members

    first, second = (member.design.design for member in found.members[:2])
    # the second is held against the Graph of the first
    designs = [first, replace(second, graph=first.graph)]
    with pytest.raises(MismatchError, match=rf"{second.name} on icarus: \d+ of \d+ vectors differ") as caught:
        simulate_members(tmp_path, designs, "icarus")
    assert caught.value.file.is_file()
    verdicts = [json.loads((tmp_path / n / "simulation/icarus/verdict.json").read_text()) for n in ("00", "01")]
    assert verdicts[0]["mismatches"] == 0
    assert verdicts[1]["mismatches"] > 0
    assert verdicts[1]["mismatch_file"] == str(caught.value.file)


PROGRAM = [sys.executable, "-m", "approxhw", "search"]


def _started(iris, passes: str, folder: Path, generations: int) -> subprocess.Popen[str]:
    words = ["--population", 200, "--generations", generations, "--passes", passes, "--members", 2, "--no-simulate"]
    words += ["--starts", 2, "--moves", 300, "--folds", 2, "--synthesised", 4]
    words = [iris.model, "--data", iris.data, "-o", folder, *words, "--synthesise-every", 0, "--jobs", 2]
    with heeded():
        return subprocess.Popen(
            [*PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent
        )


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "it never wrote a checkpoint"
        time.sleep(0.01)


@pytest.mark.slow
def test_ctrl_c_finishes_the_generation_and_leaves_a_front(iris, passes, tmp_path):
    process = _started(iris, passes, tmp_path / "front", 100_000)
    _wait_for(tmp_path / "front/checkpoint/fold-0/search.npz", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "finishing what has begun, then the front is made" in err
    assert "the search was interrupted after generation" in err
    front = ax.open_front(tmp_path / "front")
    assert front.front.interrupted
    assert front.chosen.design.accuracy["hardware"] == front.chosen.test_accuracy
    assert "chosen:" in out


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_to_the_same_front(iris, passes, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = _started(iris, passes, killed, 30)
    _wait_for(killed / "checkpoint/fold-0/search.npz", process)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not (killed / "front.json").exists()
    with pytest.raises(InvalidDesignError, match="run it again with --resume"):
        ax.open_front(killed)
    options = {
        "population": 200,
        "generations": 30,
        "members": 2,
        "synthesised": 4,
        "simulate": (),
        "synthesise_every": 0,
        "jobs": 1,
        "seeding": FEW,
        "folds": 2,
    }
    common = {"data": iris.data, "passes": ax.parse_passes(passes), **options}
    again = ax.search(iris.model, output=killed, resume=True, **common)
    assert genomes(again.folder) == genomes(ax.search(iris.model, output=whole, **common).folder)
