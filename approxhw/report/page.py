"""Render a report: one self-contained HTML page without scripts or outside files, written whole or not at all."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.errors import OutputError, Problem, shown
from approxhw.common.files import write_whole

from . import figures
from .data import Confusion, ReportData
from .drawing import NAME, draw

if TYPE_CHECKING:
    import jinja2

LONGEST = 2000
"""Characters of any one text that reach the page; names are cut much shorter."""

CLASSES_IN_TABLE = 24
"""More classes than this, and the confusion matrix becomes a list of its greatest confusions."""


@functools.cache
def environment() -> jinja2.Environment:
    """Return the Jinja environment of all pages, which compiles each template once; every text is cut and escaped."""
    import jinja2  # only reports need it, and it costs a tenth of the time that importing approxhw may take

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        short=shown,
        sig=figures.significant,
        plain=figures.given_figure,
        count=figures.grouped,
        percent=figures.percent,
        saving=figures.saving,
        scored=figures.scored,
        seconds=figures.seconds,
        scaled=figures.scaled,
    )
    made.globals.update(
        points=figures.points,
        score_change=figures.score_change,
        area_scale=figures.area_scale,
        power_scale=figures.power_scale,
        delay_scale=figures.delay_scale,
        share=_share,
    )
    return made


def render(data: ReportData) -> str:
    """Return the page as text. Every text in *data* is untrusted."""
    by_layer = data.cost.by_layer if data.cost else ()
    return (
        environment()
        .get_template("page.html")
        .render(
            data=data,
            safety=data.safety,
            cost=data.cost,
            name_length=NAME,
            drawing=draw(data.layers, data.inputs, data.labels),
            hardware=_hardware_accuracy(data),
            float_test=data.accuracy[0].test if data.accuracy else None,
            majority=data.majority,
            mismatches=sum(s.mismatches for s in data.simulations),
            confusions=_worst(data.confusion, data) if data.confusion else (),
            label=lambda index: data.labels[index] if index < len(data.labels) else index,
            in_table=len(data.confusion.counts) <= CLASSES_IN_TABLE if data.confusion else False,
            hierarchy_area=sum(layer.area_mm2 for layer in by_layer),
            hierarchy_power=sum(layer.power_mw or 0 for layer in by_layer),
            hierarchy_cells=sum(layer.cells or 0 for layer in by_layer),
        )
    )


def write_report(path: Path, data: ReportData) -> None:
    """Write the page of *data* to the file *path*: beside it first, then renamed. Raises :class:`OutputError`."""
    write_page(path, render(data))


def write_page(path: Path, text: str) -> None:
    """Write *text* to the file *path*: beside it first, then renamed. Raises :class:`OutputError`."""
    try:
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        why = f"the report cannot be written ({error.strerror or error})"
        raise OutputError("report", [Problem(str(path), why, "name a folder that exists and has room")]) from error


def template(name: str) -> str:
    """Return the text of a template; names are unique over the folders of ``templates/``."""
    for folder in resources.files(__package__).joinpath("templates").iterdir():
        if folder.is_dir() and (file := folder.joinpath(name)).is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(name)


def _printable(value: object) -> object:
    """Make the result of an expression fit for a page; Markup (macros, escaped already) is a str with ``__html__``."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    # our own figures hold that space, which Python does not call printable
    return figures.SPACE.join(shown(part, LONGEST) for part in value[:LONGEST].split(figures.SPACE))


def _share(part: float | None, whole: float | None) -> str:
    """Return part / whole in per cent for a bar's length: 0 to 100, and 0 where it makes no sense."""
    fraction = part / whole if part and whole else 0.0
    return f"{100 * min(max(fraction, 0.0), 1.0):.2f}"


def _hardware_accuracy(data: ReportData) -> tuple[float | None, str]:
    """Return the last form's accuracy and the rows it stands for: test rows, else training rows."""
    if not data.accuracy:
        return None, ""
    last = data.accuracy[-1]
    return (last.test, "test rows") if last.test is not None else (last.train, "training rows")


def _worst(confusion: Confusion, data: ReportData, most: int = 20) -> list[tuple[int, int, int]]:
    """Return (actual, predicted, count) of the greatest confusions, greatest first."""
    wrong = [
        (actual, predicted, count)
        for actual, row in enumerate(confusion.counts)
        for predicted, count in enumerate(row)
        if actual != predicted and count
    ]
    return sorted(wrong, key=lambda entry: -entry[2])[:most]
