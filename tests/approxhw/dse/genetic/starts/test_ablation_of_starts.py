"""The ablation of starts: differences are paired by split, told from chance by their errors, and what was measured is kept."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[5]
SPLITS = range(1, 21)


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import common
    import search_ablation

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    return search_ablation


def measured(ablation: ModuleType, name: str, seed: int, gain: float, task: str = "cardio") -> object:
    """Return what a variant holds: much by split, and *gain* more than the search's own way; on test rows the opposite."""
    own = [0.7 + 0.01 * seed + 0.01 * b for b in range(3)]
    return ablation.Measured(name, task, seed, [a + gain for a in own], [a - gain for a in own], 1.0)


def all_of(ablation: ModuleType) -> list[object]:
    gains = {"own": (0, 0, 0, 0), "averaged": (0.02, 0.01, 0.02, 0.03), "noise": (0.02, -0.02, 0.01, 0.0)}
    return [measured(ablation, name, s, g[(s - 1) % 4]) for name, g in gains.items() for s in SPLITS]


def test_differences_are_those_of_the_same_split(ablation: ModuleType) -> None:
    found = all_of(ablation)
    aside = ablation.differences(found, "averaged", "cardio", "validation")
    assert aside == pytest.approx(np.repeat([[0.02], [0.01], [0.02], [0.03]] * 5, 3, axis=1))
    assert ablation.differences(found, "averaged", "cardio", "test") == pytest.approx(-aside)
    assert ablation.differences(found, "averaged", "redwine", "test").shape == (0, 3)


def test_a_difference_is_told_from_chance_by_its_error(ablation: ModuleType) -> None:
    known = ablation.variants(ablation.Seeding())
    shown = {name: known[name] for name in ("own", "averaged", "noise", "thin")}
    rows = list(ablation.together(all_of(ablation), shown, ["cardio"]))
    # errors: 0.7255 / √20 and 1.5174 / √20, per cent
    assert rows == [
        ["four networks averaged", "20", "+2.00 ± 0.16", "helps", "-2.00 ± 0.16"],
        ["codes one off with probability 0.4", "20", "+0.25 ± 0.34", "chance", "-0.25 ± 0.34"],
    ]
    few = [each for each in all_of(ablation) if each.seed < 20]
    assert [row[3] for row in ablation.together(few, shown, ["cardio"])] == ["too few splits"] * 2


def test_what_was_measured_is_kept_and_told(
    ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ablation.TASKS:
        for end in ("onnx", "npz"):
            (tmp_path / f"{name}.{end}").touch()
    own = ablation.Seeding(starts=2, levels=3, moves=10)
    variants = {name: asdict(variant) for name, variant in ablation.variants(own).items()}
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"variants": variants, "found": [asdict(each) for each in all_of(ablation)]}))
    words = ["search_ablation.py", "--tasks", str(tmp_path), "--kept", str(kept), "--seconds", "-1", "--levels", "3"]
    monkeypatch.setattr(sys, "argv", [*words, "--moves", "10"])
    ablation.main()
    page = (tmp_path / "search_ablation.md").read_text(encoding="utf-8")
    assert "| four networks averaged | 20 | +2.00 ± 0.16 | helps | -2.00 ± 0.16 |" in page
    assert "| as searches do | 20 | 80.50 | 81.50 | 82.50 | 80.50 | 81.50 | 82.50 |" in page
    assert capsys.readouterr().out == page + "\n"
    for more, text in (
        (["--moves", "11"], "holds what other variants, starts, levels or moves gave; name another file"),
        (["--moves", "10", "--variants", "nois"], "--variants: there is no nois; there are own, averaged, "),
    ):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit, match=text):
            ablation.main()
