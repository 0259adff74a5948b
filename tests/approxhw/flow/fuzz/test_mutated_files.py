"""Mutated files: every reader of untrusted data takes them or refuses them in our words, and quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fuzzing.fuzz_readers import NAMES
from fuzzing.mutated_files import FOLDERS, PLAIN, Outcome, Reader, archived, as_npy, content_of, limited, one, reader_of

COUNT = dict.fromkeys(("verilog", "onnx", *FOLDERS), 50)
"""Files, where each takes longer than with the others."""


def test_the_script_knows_every_reader() -> None:
    assert {*NAMES} == {*PLAIN, *FOLDERS}


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader, outcome = reader_of(name, tmp_path), Outcome()
    for seed in range(1, 1 + COUNT.get(name, 100)):
        one(reader, content_of(reader, seed), tmp_path / f"mutated{reader.suffix}", outcome)
    assert not outcome.faults, outcome.faults[0][1]
    assert outcome.refused > 10, "mutations that break nothing test nothing"


@pytest.mark.parametrize("name", [*PLAIN, *FOLDERS])
def test_seeds_are_read(name: str, tmp_path: Path) -> None:
    """What is mutated was whole before: else every file would be refused for the same reason."""
    reader, outcome = reader_of(name, tmp_path), Outcome()
    content = reader.seeds[0] if name != "npz" else archived({"X": reader.seeds[0], "y": as_npy([0, 1, 1])})
    one(reader, content, tmp_path / f"seed{reader.suffix}", outcome)
    assert outcome.read == 1


def test_a_traceback_is_a_fault(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        raise KeyError(path.name)

    outcome = Outcome()
    one(Reader("broken", (b"",), broken, ".x"), b"a", tmp_path / "a.x", outcome)
    assert outcome.faults[0][0] == b"a"
    assert "KeyError: 'a.x'" in outcome.faults[0][1]


def test_a_hang_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzzing.mutated_files.HANG", 0.05)
    outcome = Outcome()
    one(Reader("slow", (b"",), lambda path: time.sleep(30), ".x"), b"a", tmp_path / "a.x", outcome)
    assert "Hang" in outcome.faults[0][1]
    with limited(5):
        pass


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    reader = reader_of("liberty", tmp_path)
    assert [content_of(reader, seed) for seed in (1, 2)] == [content_of(reader, seed) for seed in (1, 2)]
    assert content_of(reader, 1) != content_of(reader, 2)
