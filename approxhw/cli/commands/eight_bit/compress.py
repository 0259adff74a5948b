"""``approxhw compress``: weights as 8-bit codes, and what it prints of the tensors and of the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.targets.shared import CODES
from approxhw.common.option_fields import argument, option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.frontends.compressed.compress_model import CompressedModel

SHOWN = 40
"""Tensors that get a line of their own at most; the largest ones do."""


@dataclass(frozen=True)
class CompressOptions:
    """What ``compress`` takes."""

    model: Path = argument("ONNX file")
    format: str = option(
        "dynamic8, static8, mantissa8 or linear8, then ,block=64…4096 and ,max=exact or pow2; or auto,budget=BITS",
        "dynamic8,block=256",
        choices=CODES,
        metavar="FORMAT",
    )
    output: Path | None = option("the compressed model; left out: told alone", None, short="-o")
    minimum_elements: int = option("smaller tensors are left as they are", 256)
    keep: tuple[str, ...] = option(
        "a tensor to leave as it is, by name; may be given more than once", (), metavar="TENSOR"
    )


def run(terminal: Terminal, options: CompressOptions) -> dict[str, object]:
    """Store the weights of MODEL as 8-bit codes that any ONNX runtime decodes."""
    from approxhw.frontends.compressed.compress_model import compress_model

    made = compress_model(
        options.model,
        options.format,
        minimum_elements=options.minimum_elements,
        keep=options.keep,
        output=options.output,
    )
    _show(terminal, made)
    if options.output is not None:
        terminal.say(f"model: {options.output}")
    return {**made.as_json(), "output": None if options.output is None else str(options.output)}


def _show(terminal: Terminal, made: CompressedModel) -> None:
    from rich.table import Table

    from approxhw.report.figures import grouped, percent, significant

    table = Table(box=None, pad_edge=False)
    for title in ("tensor", "shape", "format", "smaller", "MSE", "MAE", "relative"):
        left = title in ("tensor", "shape", "format")
        table.add_column(title, justify="left" if left else "right", no_wrap=title != "tensor")
    largest = sorted(made.tensors, key=lambda tensor: -tensor.elements)[:SHOWN]
    for tensor in [tensor for tensor in made.tensors if tensor in largest]:
        words = [_plain(tensor.name), " × ".join(map(str, tensor.shape)), str(tensor.format)]
        errors = [f"{tensor.mse:.3g}", f"{tensor.mae:.3g}", percent(tensor.relative, 2)]
        table.add_row(*words, f"{tensor.ratio:.3f}", *errors)
    terminal.out.print(table)
    if len(made.tensors) > SHOWN:
        terminal.say(f"… and {len(made.tensors) - SHOWN} smaller ones: --json")
    terminal.say(f"weights: {grouped(made.elements)} in {len(made.tensors)} tensors, {made.ratio:.3f} times smaller")
    kib = [significant(size / 1024) for size in (made.bytes_before, made.bytes_after)]
    word = "smaller" if made.file_ratio >= 1 else "smaller (tables and nodes take more than is saved)"
    terminal.say(f"file: {kib[0]} KiB before, {kib[1]} KiB after, {made.file_ratio:.3f} times {word}")
    reasons = Counter(entry.why for entry in made.left)
    for why, count in reasons.most_common():
        elements = sum(entry.elements for entry in made.left if entry.why == why)
        terminal.say(f"left as they are: {count} tensors of {grouped(elements)} values: {why}")
    for note in made.notes:
        terminal.warn(note)


def _plain(text: str) -> str:
    from rich.markup import escape

    from approxhw.common.errors import shown

    return escape(shown(text, 60))


COMMAND = Command("compress", run, CompressOptions)
