"""The page of a front: an interactive plot, a table and the record of the search in one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from approxhw.artifacts.front import Front, Member
from approxhw.common.errors import shown

from .data import LedgerRow, ledger_row
from .page import environment, template, write_page

BATTERIES = (("Molex", 30.0), ("Zinergy", 15.0), ("Blue Spark", 6.0))
"""Printed batteries: name, mW that one gives at most."""


@dataclass(frozen=True)
class _Record:
    """What the part of the page about passes, commands and seconds shows."""

    folder: str
    ledger: tuple[LedgerRow, ...]
    commands: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]


def render_front(front: Front, folder: str) -> str:
    """Return the page of *front* as text; *folder* is how commands name it. Every text is untrusted, and escaped."""
    script = template("front.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    chosen, knee = front.chosen, front.knee()
    return (
        environment()
        .get_template("front.html")
        .render(
            front=front,
            chosen=chosen,
            knee=knee,
            script=script,
            script_digest=digest,
            numbers=_numbers(front, knee),
            batteries=BATTERIES,
            options=[(str(name), _spelled(value)) for name, value in front.options.items()],
            features=front.data.get("features"),
            rows=[(name, front.data.get("rows", {}).get(name), front.onnx[name]) for name in front.onnx],
            fed=lambda member: [f"{name}, {power:g} mW" for name, power in BATTERIES if member.power_mw <= power],
            data=_Record(
                folder, tuple(map(ledger_row, front.ledger)), _commands(front, folder), tuple(front.seconds.items())
            ),
            total=sum(front.seconds.values()),
            best=max(member.accuracy for member in front.members),
        )
    )


def write_front_page(path: Path, front: Front, folder: str) -> None:
    """Write the page of *front* to the file *path*: beside it first, then renamed. Raises :class:`OutputError`."""
    write_page(path, render_front(front, folder))


def _numbers(front: Front, knee: Member) -> dict[str, Any]:
    """Return what the script draws: numbers, and paths that were checked; no text of a model or of data."""
    split = "train" if front.members[0].validation_accuracy is None else "validation"
    return {
        "members": [
            {
                "index": m.index,
                "accuracy": {"validation": m.validation_accuracy, "test": m.test_accuracy, "train": m.train_accuracy},
                "area": m.area_mm2 / 100,
                "power": m.power_mw,
                "fed": m.power_mw + m.converters_power_mw,
                "inputs": m.inputs,
                "chosen": m.chosen,
                "knee": m.index == knee.index,
                "page": f"{m.design}/report.html",
            }
            for m in front.members
        ],
        "onnx": dict(front.onnx),
        "split": split,
        "batteries": [power for _, power in BATTERIES],
    }


def _spelled(value: Any) -> str:
    return "–" if value is None else "yes" if value is True else "no" if value is False else shown(value, 200)


def _commands(front: Front, folder: str) -> tuple[str, ...]:
    import shlex

    name = shlex.quote(folder)
    return (
        front.command or f"approxhw search MODEL --data DATA -o {name}",
        f"approxhw compile {name} --pick chosen -o OUTPUT",
        f"approxhw report {shlex.quote(f'{folder}/{front.chosen.design}')}",
    )
