"""What is said of a design: the header of its files, its model, the lines of its ledger, what its user should know."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.design import Model
from approxhw.common.errors import shown
from approxhw.common.version import __version__
from approxhw.ir.evaluation import predict
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import LedgerLine, PassRecord

from .protocol import Target
from .targets import name_of_target

if TYPE_CHECKING:
    from approxhw.frontends.classifier import Classifier


def header_of(graph: Graph, model: Model | None, target: Target, passes: Sequence[str]) -> list[str]:
    """Return the comment lines on top of every file; free text is made ASCII, so that it cannot leave the comment."""
    source = _ascii(graph.source or (model["title"] if model else shown(graph.name, 120)))
    lines = [
        f"model:  {source}",
        *_wrapped("passes: ", ", ".join(passes)),
        *_classes(graph),
        f"made by approxhw {__version__}, target {name_of_target(target)}",
    ]
    return [_ascii(line) for line in lines]


def _classes(graph: Graph) -> list[str]:
    """Return what each class index stands for, where that is another name; nothing of very many."""
    if not 2 <= len(graph.labels) <= 32 or list(graph.labels) == list(range(len(graph.labels))):
        return []
    return _wrapped("classes: ", ", ".join(f"{index} {shown(label, 40)}" for index, label in enumerate(graph.labels)))


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


def constant_note(graph: Graph, blind: bool, rows: tuple[np.ndarray, np.ndarray], split: str) -> list[str]:
    """Return a line where the circuit says the same class whatever it reads, or of all *rows* though they are of several.

    *blind*: it reads no input.
    """
    readings, labels = rows
    op = graph.input.op
    assert isinstance(op, Input)
    some = readings[:1] if len(readings) else np.zeros((1, len(op.features)))
    said = np.unique(predict(graph, readings if not blind and len(readings) else some))
    if len(said) > 1 or (not blind and len(np.unique(labels)) < 2):
        return []
    label = shown(repr(graph.labels[said[0]] if graph.labels else int(said[0])), 40)
    if blind:
        return [f"the circuit is constant: it reads no input, and always says class {label}"]
    rows_named = "test rows" if split == "test" else "training rows"
    return [f"the circuit says class {label} of every one of the {len(readings)} {rows_named}"]
