"""Two runs into one folder: the second is refused at once, and told which run the first is."""

import json
import os
import threading
from contextlib import contextmanager

import pytest

import approxhw as ax
from approxhw.common.errors import OutputError
from approxhw.common.files import locked
from approxhw.flow.fuzz import fuzz


@contextmanager
def another_run(folder):
    """Hold the lock of *folder*, as another run does: in a thread that shares nothing with this one."""
    taken, done = threading.Event(), threading.Event()

    def work():
        with locked(folder):
            taken.set()
            done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert taken.wait(60)
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "words",
    [
        "compile MODEL --data ROWS -o FOLDER",
        "compile MODEL --data ROWS -o FOLDER --target matrix-engine",
        "search MODEL --data ROWS -o FOLDER",
        "search MODEL --data ROWS -o FOLDER --target matrix-engine",
        "simulate FOLDER",
        "estimate FOLDER",
        "report FOLDER",
        "fuzz -o FOLDER",
        "opt FOLDER/graph.axir --passes narrow-formats -o FOLDER",
        "compress MODEL -o FOLDER",
        "eight-bit-rtl dynamic8,block=256 -o FOLDER",
    ],
)
def test_a_command_is_refused_while_another_works_in_its_folder(cli, inputs, design, content, words):
    before = content(design)
    places = {"MODEL": inputs / "tiny.onnx", "ROWS": inputs / "tiny.npz", "FOLDER": design}
    with another_run(design):
        for name, place in places.items():
            words = words.replace(name, str(place))
        done = cli(*words.split(), "--json")
    assert done.exit_code == 8, done.output
    told = json.loads(done.stdout)
    assert told["exit_code"] == 8
    assert f"{design}: another run works in it: process {os.getpid()} on " in told["error"]
    assert told["error"].endswith("do: wait until it has ended, or take another folder")
    assert content(design) == before


def test_python_is_refused_alike(inputs, design, tmp_path):
    opened = ax.open_design(design)
    given = {"data": inputs / "tiny.npz", "output": design}
    calls = [
        lambda: ax.compile(inputs / "tiny.onnx", **given),
        lambda: ax.search(inputs / "tiny.onnx", **given),
        lambda: ax.search(inputs / "tiny.onnx", target=ax.MatrixEngine(), **given),
        lambda: opened.simulate("icarus"),
        opened.estimate,
        opened.report,
        lambda: fuzz(1, folder=design),
    ]
    with another_run(design):
        for call in calls:
            with pytest.raises(OutputError, match="another run works in it: process"):
                call()


def test_a_folder_by_default_is_locked_too_and_another_one_is_free(cli, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["compile", inputs / "tiny.onnx", "--data", inputs / "tiny.npz", "--no-simulate", "--no-estimate"]
    with another_run(tmp_path / "build" / "tiny"):
        assert "build/tiny: another run works in it" in cli(*words).output
        assert cli(*words, "-o", "build/other").exit_code == 0
    assert cli(*words).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["other", "tiny"]
