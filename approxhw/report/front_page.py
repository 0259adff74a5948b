"""The pages of fronts, of circuits and of engines: a plot, a table and the record of the search in one self-contained file."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from approxhw.artifacts.engine_front import EngineFront
from approxhw.artifacts.front import Front, Member
from approxhw.artifacts.objectives import ENGINE, Objective
from approxhw.common.errors import shown

from .asked_plot import asked_plots, asked_steps
from .data import LedgerRow, drawn_ledger_row
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
            families=_marked(front),
            legend=[
                (place, name)
                for place, name in enumerate(_marked(front))
                if name in {each.name for each in front.families}
            ],
            marks=MARKS,
            plots=asked_plots(front, _marked(front)),
            cost_title=_sentence(front.costs[0].title),
            cost_shown=front.costs[0].shown,
            recipes=sum(each.recipes for each in front.families),
            script=script,
            script_digest=digest,
            numbers=_numbers(front, knee),
            more=tuple((each.name, _sentence(each.title)) for each in _others(front)),
            others=lambda member: [(each.name, each.value(member) * each.shown) for each in _others(front)],
            batteries=BATTERIES,
            options=[(str(name), _spelled(value)) for name, value in _options(front)],
            asked=asked_steps(front.asked),
            features=front.data.get("features"),
            rows=[
                (name, front.data.get("rows", {}).get(name), front.onnx[name], front.majority.get(name))
                for name in front.onnx
            ],
            fed=lambda member: [f"{name}, {power:g} mW" for name, power in BATTERIES if member.power_mw <= power],
            data=_Record(
                folder,
                tuple(map(drawn_ledger_row, front.ledger)),
                _commands(front, folder),
                tuple(front.seconds.items()),
            ),
            total=sum(front.seconds.values()),
            best=max(member.accuracy for member in front.members),
        )
    )


def write_front_page(path: Path, front: Front, folder: str) -> None:
    """Write the page of *front* to the file *path*: beside it first, then renamed. Raises :class:`OutputError`."""
    write_page(path, render_front(front, folder))


OF_RECIPES = frozenset(
    [
        "seed",
        "families",
        "target_accuracy",
        "max_accuracy_loss",
        "max_class_loss",
        "members",
        "synthesised",
        "keep",
        "max_inputs",
    ]
)
"""Options that a search without masked networks looks at: the page of one shows no others."""


def _options(front: Front) -> list[tuple[str, object]]:
    families = str(front.options.get("families", GENETIC)).split(",")
    return [(name, value) for name, value in front.options.items() if GENETIC in families or name in OF_RECIPES]


DRAWN = ("area", "power")
"""Costs of a circuit that every front shows; other objectives get a plot and a column beside them."""


MARKS = (
    "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0Z",
    "M-4.8 -4.8H4.8V4.8H-4.8Z",
    "M0 -6.8L6.8 0L0 6.8L-6.8 0Z",
    "M0 -6.2L6.2 5H-6.2Z",
    "M0 6.2L6.2 -5H-6.2Z",
    "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
)
"""Shapes of members, family by family: circle, square, diamond, triangles, cross."""


def _marked(front: Front) -> list[str]:
    """Return the families of *front* in the order of their marks, masked networks first; none where there are no others."""
    if not front.families:
        return []
    return sorted({*(each.name for each in front.families), GENETIC}, key=lambda name: (name != GENETIC, name))


GENETIC = "mlp"
"""The family whose members are circles, as they are where there is no other."""


def _others(front: Front) -> list[Objective]:
    """Return the objectives that the table does not show anyway."""
    return [each for each in front.costs if each.name in ("energy", "converters", "system-area", "system-power")]


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]


def _numbers(front: Front, knee: Member) -> dict[str, object]:
    """Return what the script draws: numbers, and paths that were checked; no text of a model or of data."""
    split = "train" if front.members[0].validation_accuracy is None else "validation"
    families = _marked(front)
    more = [each for each in front.costs if each.name not in DRAWN]
    axes = [
        {"key": "area", "name": "area", "title": "synthesised area, cm²", "marks": []},
        {
            "key": "power",
            "name": "power",
            "title": "power of the circuit, mW",
            "marks": [power for _, power in BATTERIES],
        },
        *({"key": each.name, "name": each.name, "title": each.title, "marks": []} for each in more),
    ]
    lines = [
        {"name": "Area", "key": "area", "unit": " cm²", "whole": False},
        {"name": "Power", "key": "power", "unit": " mW", "whole": False},
        {"name": "With converters", "key": "fed", "unit": " mW", "whole": False},
        {"name": "Inputs used", "key": "inputs", "unit": "", "whole": True},
        *(_line(each) for each in more if each.name != "inputs"),
    ]
    return {
        "members": [
            {
                "index": m.index,
                "accuracy": {
                    "expected": m.accuracy,
                    "validation": m.validation_accuracy,
                    "test": m.test_accuracy,
                    "train": m.train_accuracy,
                },
                "mark": families.index(m.family) if m.family in families else 0,
                "area": m.area_mm2 / 100,
                "power": m.power_mw,
                "fed": m.system_power_mw,
                "inputs": m.inputs,
                **{each.name: each.value(m) * each.shown for each in more if each.name != "inputs"},
                "chosen": m.chosen,
                "knee": m.index == knee.index,
                "page": f"{m.design}/report.html",
            }
            for m in front.members
        ],
        "onnx": {**front.onnx, "expected": front.onnx[split]},
        "split": "expected" if families else split,
        "expected": bool(families),
        "marks": MARKS,
        "axes": axes,
        "lines": lines,
        "fed": "power with converters, mW",
        "reach": len(front.objectives) == 2,
    }


def _line(each: Objective) -> dict[str, object]:
    unit = each.title.partition(", ")[2]
    return {"name": _sentence(each.name), "key": each.name, "unit": f" {unit}" if unit else "", "whole": False}


def render_engine_front(front: EngineFront, folder: str) -> str:
    """Return the page of an engine's *front* as text; *folder* is how commands name it. Every text is untrusted."""
    import shlex

    script = template("front.js")
    integers = front.exact_energy_nj is not None
    told = ("area", "energy") if integers else [name for name in ENGINE if name not in ("errors", "clocks")]
    costs = [*front.costs, *(ENGINE[name] for name in told if ENGINE[name] not in front.costs)]
    titles = [("index", "#"), ("validation", "Validation"), ("test", "Test"), ("train", "Searched on")]
    members = [
        {
            "index": m.index,
            "accuracy": {
                "validation": m.validation_accuracy,
                "test": m.test_accuracy,
                "train": m.search_accuracy,
            },
            **{each.name: each.value(m) for each in costs},
            "saved": m.saved,
            "apart": m.apart_um2,
            "chosen": m.chosen,
            "knee": False,
            "page": None,
        }
        for m in front.members
    ]
    drawn = front.costs if len(front.costs) > 1 else costs[:2]
    onnx = {"validation": front.onnx["validation"], "test": front.onnx["test"], "train": front.onnx["search"]}
    page: str = (
        environment()
        .get_template("engine_front.html")
        .render(
            front=front,
            integers=integers,
            chosen=front.chosen,
            folder=shlex.quote(folder),
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            numbers={
                "members": members,
                "onnx": onnx,
                "split": "validation",
                "axes": [{"key": e.name, "name": e.name, "title": e.title, "marks": []} for e in drawn],
                "lines": [_line(each) for each in costs],
                "fed": None,
                "reach": False,
            },
            titles=titles
            + [(each.name, _sentence(each.title)) for each in costs]
            + ([("apart", "Apart, µm²"), ("saved", "Saved")] if integers else []),
            shown=costs,
            options=[(str(name), _spelled(value)) for name, value in front.options.items()],
            command=front.command
            or f"approxhw search MODEL --target {front.target} --data DATA -o {shlex.quote(folder)}",
        )
    )
    return page


def write_engine_front_page(path: Path, front: EngineFront, folder: str) -> None:
    """Write the page of an engine's *front* to the file *path*: beside it first, then renamed. Raises :class:`OutputError`."""
    write_page(path, render_engine_front(front, folder))


def _spelled(value: object) -> str:
    return "–" if value is None else "yes" if value is True else "no" if value is False else shown(value, 200)


def _commands(front: Front, folder: str) -> tuple[str, ...]:
    import shlex

    name = shlex.quote(folder)
    return (
        front.command or f"approxhw search MODEL --data DATA -o {name}",
        f"approxhw compile {name} --pick chosen -o OUTPUT",
        f"approxhw report {shlex.quote(f'{folder}/{front.chosen.design}')}",
    )
