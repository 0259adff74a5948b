"""The golden record: made twice it is the same, and whatever differs between two records is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import approxhw as ax

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def golden(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import golden

    return golden


def record(digests: dict[str, str], parts: tuple[str, ...] = ("engines",), portable: bool = False) -> dict[str, Any]:
    return {"parts": list(parts), "portable": portable, "digests": digests}


def test_differences_are_named_with_both_digests(golden: ModuleType) -> None:
    before = record({"engines/a": "1", "engines/b": "2", "engines/c": "3"})
    after = record({"engines/a": "1", "engines/b": "x", "engines/d": "4"})
    assert golden.compare(before, before) == []
    assert golden.compare(before, after) == ["engines/b: 2 -> x", "engines/c: 3 -> absent", "engines/d: absent -> 4"]


def test_records_are_compared_in_what_both_hold(golden: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    stored = record({"engines/e/network/rtl/a.v": "1"}, portable=True)
    whole = record({"engines/e/network/rtl/a.v": "2", "engines/e/network/design.json/accuracy": "3", "search/f": "4"})
    whole["parts"] = ["engines", "search"]
    assert golden.compare(stored, whole) == ["engines/e/network/rtl/a.v: 1 -> 2"]
    assert capsys.readouterr().err == "engines: 1 of 1 portable digests differ\n"
    with pytest.raises(SystemExit, match="no part in common"):
        golden.compare(stored, record({}, ("search",)))


def test_files_that_are_no_records_are_refused(golden: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    for text in ("{", "[]", '{"format": "another"}'):
        path.write_text(text)
        with pytest.raises(SystemExit, match=r"other\.json"):
            golden.read(path)


def test_versions_do_not_count_and_names_in_verilog_do(golden: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "rtl").mkdir()
    found = []
    for version, name in (("0.1.0", "y"), ("9.9.9", "y"), ("0.1.0", "z")):
        (tmp_path / "rtl/a.v").write_text(f"// made by approxhw {version}, target printed\nmodule a(output {name});\n")
        (tmp_path / "design.json").write_text(f'{{"version": "{version}", "ledger": [{{"seconds": {len(found)}}}]}}')
        found.append(golden.folder_digests(tmp_path, "circuits/a"))
    assert found[0] == found[1]
    assert next(golden.differences(found[0], found[2])).startswith("circuits/a/rtl/a.v: ")


def test_an_interpreter_of_another_checkout_is_refused(golden: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="imports approxhw from"):
        golden.Run(tmp_path / "elsewhere", Path(sys.executable), tmp_path, 300).check()


def test_a_record_of_a_circuit_is_made_again_alike(golden: ModuleType, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "iris.onnx").write_bytes((CHECKOUT / "examples/iris.onnx").read_bytes())
    data = ax.load_dataset("sklearn:iris")
    np.savez(tasks / "iris.npz", X_train=data.X_train, y_train=data.y_train, X_test=data.X_test, y_test=data.y_test)
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        run = golden.Run(CHECKOUT, Path(sys.executable), tmp_path / name, 300, kept_kernels=True)
        found.append(golden.circuits(run, tasks, ("iris",), ("printed-exact",)))
    assert found[0] == found[1]
    assert found[0]["circuits/iris/printed-exact/registered/design.json/latency"] == "2"
    for end in ("graph.axir", "classes/test", "rtl/iris.v"):
        plain, registered = (
            found[0][f"circuits/iris/printed-exact/{k}/{end}"] for k in ("combinational", "registered")
        )
        assert (plain == registered) == (end != "rtl/iris.v")


def test_the_command_lists_its_modes() -> None:
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "benchmarks/golden.py")], capture_output=True, text=True, check=True
    )
    assert all(mode in done.stdout for mode in ("record", "compare", "against"))
