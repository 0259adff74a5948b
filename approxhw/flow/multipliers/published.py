"""Figures that a library publishes beside a multiplier, in comments or JSON, held against those of its own products.

The names are those of EvoApproxLib (Mrazek, Hrbacek, Vasicek, Sekanina, *EvoApprox8b*, DATE 2017): ``mae``, ``wce``, ``mse`` in
units of the product, ``mae%`` and ``wce%`` in per cent of 2^(bits of both operands), ``mre%``, ``wcre%`` over the exact product,
``ep%``. ``pwr`` (mW), ``area`` (µm²) and ``delay`` (ns) are of another library and clock, and are told, not compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from approxhw.common.errors import shown
from approxhw.common.files import read_text
from approxhw.numerics.multipliers.tables import ErrorFigures

MOST_BYTES = 1 << 24
PARENTS = 4
"""Folders in which ``meta.json`` is looked for: that of the module, and those above it."""
COMPARED = ("mae", "mae%", "wce", "wce%", "mre%", "wcre%", "ep%", "mse")
TOLD = ("pwr", "area", "delay")
TOLERANCE = 0.02
"""Relative distance that rounding may make, twice where a share was made of a rounded figure; or two units of the last digit."""

_COMMENT = re.compile(
    r"^\s*(?://|\*)\s*(?:PDK\d+_)?(MAE|WCE|WCRE|EP|MRE|MSE|PWR|AREA|DELAY)(%?)\s*=\s*([\d.eE+-]+)", re.M
)
_WRITTEN = re.compile(r"[+-]?\d{1,40}(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,2}))?\s*%?\Z")


@dataclass(frozen=True)
class PublishedFigures:
    """What is published of a multiplier: ``values`` by name, ``units`` of their last digits, and the ``origin`` of it all."""

    origin: str
    values: Mapping[str, float]
    units: Mapping[str, float]


def published_figures(path: Path, module: str) -> PublishedFigures | None:
    """Return what is published of *module*, whose Verilog is the file *path*; None where nothing is.

    In turn: comments of the file; ``NAME.json`` beside it; ``meta.json`` in its folder or one of those above, in which an object
    with ``params`` is called as the module or lists its file.
    """
    try:
        in_comments = {
            f"{name}{share}".lower(): text for name, share, text in _COMMENT.findall(read_text(path, MOST_BYTES))
        }
    except (OSError, UnicodeDecodeError):
        in_comments = {}
    if found := _figures(f"comments of {path.name}", in_comments):
        return found
    own = path.with_suffix(".json")
    told = _json(own)
    if isinstance(told, dict) and (found := _figures(own.name, told.get("params", told))):
        return found
    for folder in list(path.absolute().parents)[:PARENTS]:
        for entry in _entries(_json(folder / "meta.json"), {module, path.stem}, path.name):
            if found := _figures("meta.json", entry):
                return found
    return None


def differing_figures(published: PublishedFigures, figures: ErrorFigures) -> list[str]:
    """Return a sentence for each published figure that the products of the multiplier contradict."""
    ours = {
        "mae": figures.mean_distance,
        "mae%": 100 * figures.mean_share,
        "wce": float(figures.worst_distance),
        "wce%": 100 * figures.worst_share,
        "mre%": 100 * figures.mean_relative,
        "wcre%": 100 * figures.worst_relative,
        "ep%": 100 * figures.error_rate,
        "mse": figures.mean_square,
    }
    return [
        f"{published.origin} says {name.upper()} {said:.6g}, its products say {ours[name]:.6g}"
        for name, said in published.values.items()
        if name in ours and abs(said - ours[name]) > max(2 * published.units[name], TOLERANCE * abs(said))
    ]


def _figures(origin: str, told: object) -> PublishedFigures | None:
    """Return the figures in the mapping *told*, whose texts or numbers may be anything; None where none of them is a figure."""
    values: dict[str, float] = {}
    units: dict[str, float] = {}
    for name, given in told.items() if isinstance(told, dict) else ():
        key = str(name).lower()
        written = _WRITTEN.match(str(given).strip())
        if key in (*COMPARED, *TOLD) and written is not None and not isinstance(given, bool):
            values[key] = float(str(given).strip().rstrip("% "))
            units[key] = 10.0 ** (int(written[2] or 0) - len(written[1] or ""))
    return PublishedFigures(shown(origin), values, units) if values.keys() & set(COMPARED) else None


def _json(path: Path) -> object:
    """Return what the JSON file *path* holds; None where there is none that can be read: figures are no must."""
    try:
        return json.loads(read_text(path, MOST_BYTES)) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def _entries(told: object, names: set[str], file: str) -> Iterator[object]:
    """Yield the ``params`` of every object in *told* that is called by one of *names*, or lists *file*."""
    waiting = [told]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            files, name = each.get("files"), each.get("name")
            listed = (
                [entry.get("file") for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []
            )
            if "params" in each and (file in listed or (isinstance(name, str) and name in names)):
                yield each["params"]
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
