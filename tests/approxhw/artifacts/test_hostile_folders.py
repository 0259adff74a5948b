"""Design folders that somebody else made: links, pipes and devices in place of files, and what recompiling may delete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.design import check_design_output, read_design
from approxhw.artifacts.folder import place_in
from approxhw.common.errors import ApproxhwError, InvalidDesignError, OptionError, OutputError
from approxhw.flow.opt import optimize_file


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's, which no command may touch."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    return tmp_path / "mine"


@pytest.mark.parametrize("place", ["simulation", "simulation/icarus"])
def test_simulate_writes_through_no_link(place, design, outside):
    (design / place).parent.mkdir(exist_ok=True)
    (design / place).symlink_to(outside)
    with pytest.raises(
        OutputError, match=r"it is a link: what is written there would land elsewhere\n    do: remove the link"
    ):
        ax.open_design(design).simulate("icarus")
    assert [path.name for path in outside.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("place", ["estimate", "estimate/egfet.json", "estimate/netlist_mismatches.json"])
def test_estimate_writes_through_no_link(place, design, outside):
    (design / place).parent.mkdir(exist_ok=True)
    (design / place).symlink_to(outside if place == "estimate" else outside / "notes.txt")
    with pytest.raises(OutputError, match="it is a link: what is written there would land elsewhere"):
        ax.open_design(design).estimate()
    assert (outside / "notes.txt").read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["notes.txt"]


def test_report_replaces_a_link_and_not_what_is_behind(design, outside):
    (design / "report.html").symlink_to(outside / "notes.txt")
    ax.open_design(design).report()
    assert (outside / "notes.txt").read_text() == "mine"
    assert not (design / "report.html").is_symlink()


def test_a_place_in_a_folder_may_be_behind_links_of_the_user(tmp_path, outside):
    (tmp_path / "link").symlink_to(outside)
    assert place_in(tmp_path / "link", "estimate/a.json") == tmp_path / "link" / "estimate" / "a.json"


MINE = [
    *("simulation/notes.txt", "simulation/icarus/wave.vcd", "estimate/table.csv", "estimate/mine.json"),
    *("estimate/deep/a.json", "steps/mine.txt", "notes.txt"),
]
OURS = {
    "simulation/icarus/verdict.json": "{}",
    "simulation/icarus-failed/run.log": "",
    "estimate/egfet.json": '{"library": "egfet"}',
    "estimate/egfet_netlist.v": "",
    "estimate/netlist_mismatches.json": "[]",
    "steps/00_input.axir": "",
    "report.html": "",
}


def test_recompiling_replaces_what_commands_wrote(design):
    for name, text in OURS.items():
        (design / name).parent.mkdir(parents=True, exist_ok=True)
        (design / name).write_text(text)
    check_design_output(design)


@pytest.mark.parametrize("name", MINE)
def test_recompiling_deletes_no_file_of_the_user(name, design):
    (design / name).parent.mkdir(parents=True, exist_ok=True)
    (design / name).write_text('{"my": "notes"}')
    with pytest.raises(OutputError, match=f"it is a design, but holds files that approxhw did not write: {name}"):
        check_design_output(design)


def test_recompiling_deletes_nothing_behind_a_link(design, outside):
    (design / "simulation").symlink_to(outside)
    with pytest.raises(OutputError, match="holds links, which approxhw does not make: simulation"):
        check_design_output(design)


KINDS = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["design.json", "graph.axir", "rows.npz", "rtl/tiny.v"])
def test_what_is_no_file_is_refused_where_designs_are(kind, name, design):
    (design / name).unlink()
    KINDS[kind](design / name)
    with pytest.raises(InvalidDesignError, match=f"{name}: .*(no file|no plain file|outside the design folder)"):
        read_design(design)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_where_commands_read(kind, tmp_path):
    """Reading a pipe waited for ever, and /dev/zero filled the memory."""
    path = tmp_path / "x.axir"
    KINDS[kind](path)
    commands = {
        "opt": lambda: optimize_file(path, tmp_path / "out.axir", "fold-affine"),
        "opt -o": lambda: optimize_file(tmp_path / "none.axir", path, "fold-affine"),
        "estimate": lambda: ax.estimate(path),
        "tabulate": lambda: ax.tabulate(str(path)),
        "read": lambda: ax.read(path),
    }
    for name, command in commands.items():
        with pytest.raises(ApproxhwError) as caught:
            command()
        assert "x.axir" in str(caught.value), name
    for suffix in (".npz", ".csv", ".lib", ".toml"):
        odd = tmp_path / f"y{suffix}"
        KINDS[kind](odd)
        with pytest.raises(ApproxhwError, match=r"no plain file|no file of that name|no file"):
            ax.load_dataset(odd) if suffix in (".npz", ".csv") else ax.estimate(odd, library=odd)


def test_rows_are_read_by_the_hardened_reader(design, revouched):
    """numpy.load took what the reader of data refuses: records, sizes that are booleans, too much of it."""
    stored = dict(np.load(design / "rows.npz"))
    records = np.zeros(3, dtype=[("a", "<i8")])
    np.savez(design / "rows.npz", **{**stored, "train": records})
    revouched(design, "rows.npz")
    with pytest.raises(InvalidDesignError, match=r"rows\.npz: .*train|train: it holds records"):
        read_design(design)


@pytest.fixture
def revouched():
    """What makes design.json vouch for a file that was changed."""
    import hashlib
    import json

    def renew(folder: Path, name: str) -> None:
        told = json.loads((folder / "design.json").read_text())
        told["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "design.json").write_text(json.dumps(told))

    return renew


def test_members_of_a_front_that_are_links_are_refused(tmp_path, design):
    from fuzzing.mutated_files import reader_of

    reader = reader_of("front.json", tmp_path)
    front = tmp_path / "front"
    shutil.move(front / "members" / "00", tmp_path / "elsewhere")
    (front / "members" / "00").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "seed.json").write_bytes(reader.seeds[0])
    with pytest.raises(InvalidDesignError, match="members/00: it is a link: the design lies elsewhere"):
        reader.read(tmp_path / "seed.json")


def test_a_verilog_file_that_is_none(tmp_path):
    with pytest.raises(OptionError, match="cannot be read as text"):
        ax.estimate(tmp_path / "none.v")
