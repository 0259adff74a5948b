"""What is said of a design: the header of its files, its model, the lines of its ledger."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from approxhw.artifacts.design import Model
from approxhw.common.errors import shown
from approxhw.common.version import __version__
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import LedgerLine, PassRecord

from .printed import Printed
from .targets import name_of_target

if TYPE_CHECKING:
    from approxhw.frontends.classifier import Classifier


def header_of(graph: Graph, model: Model | None, target: Printed, passes: Sequence[str]) -> list[str]:
    """Return the comment lines on top of every file; free text is made ASCII, so that it cannot leave the comment."""
    source = _ascii(graph.source or (model["title"] if model else shown(graph.name, 120)))
    lines = [
        f"model:  {source}",
        *_wrapped("passes: ", ", ".join(passes)),
        f"made by approxhw {__version__}, target {name_of_target(target)}",
    ]
    return [_ascii(line) for line in lines]


def _wrapped(label: str, text: str) -> list[str]:

    return textwrap.wrap(text, 110, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=True)


def _ascii(text: str) -> str:
    return (
        "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text[:400])
        .replace("*/", "* /")
        .replace("/*", "/ *")
    )


def about(model: Classifier) -> Model:
    """Return what the model was: a title and, for a file, its digest."""
    return {"title": shown(model.title, 120), "sha256": model.digest}


def ledger_row(record: PassRecord) -> LedgerLine:
    """Return a line of the ledger as plain types."""
    row = asdict(record)
    row["options"] = {key: list(v) if isinstance(v, tuple) else v for key, v in record.options.items()}
    row["notes"] = list(record.notes)
    return row
