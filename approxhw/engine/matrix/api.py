"""Front door of the emulated matrix engine: a model whose products run through floating-point multiply-add chains.

>>> from approxhw.engine.matrix import api as ax_engine
>>> from approxhw.numerics.mac.arithmetic import FloatMac
>>> engine = ax_engine.open_engine("model.onnx", mac=FloatMac("bf16", 20, "an-1-2"), shape={"x": (1, 128)})
>>> outputs = engine.run({"x": rows})
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.mac.arithmetic import FloatMac

if TYPE_CHECKING:
    import numpy as np

    from approxhw.frontends.onnx.loading import ModelSource
    from approxhw.ir.tensor.emulate import EmulatedEngine
    from approxhw.numerics.eight_bit.port_codes import EngineCodes
    from approxhw.numerics.mac.float_mac import Result


_log = logging.getLogger(__name__)


def open_engine(
    model: ModelSource,
    mac: FloatMac | None = None,
    layers: Mapping[str, FloatMac | None] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    *,
    result: Result = "float32",
    threads: int = 1,
    compress: EngineCodes | str | None = None,
) -> EmulatedEngine:
    """Return *model* (path or ``onnx.ModelProto``) with its matrix products on an emulated engine of *mac*.

    *mac*: arithmetic of every product; None leaves them in float32 in onnxruntime. *layers*: other arithmetic, or None,
    by the name of a node (of its output, where it has no name). *shape*: sizes of the inputs whose own are open, by name;
    layers are listed at these sizes. *result*: what the column's end rounds to. *threads*: change nothing but the time.
    *compress*: operands become 8-bit codes first, such as ``dynamic8,block=256,activations=true`` (bf16 alone).
    Raises :class:`OptionError`, :class:`InvalidModelError`, :class:`UnsupportedModelError`.
    """
    from approxhw.frontends.products.partition import open_model
    from approxhw.ir.tensor.emulate import EmulatedEngine
    from approxhw.ir.tensor.layers import with_codes, with_macs, with_result
    from approxhw.ir.tensor.run import title_of
    from approxhw.numerics.eight_bit.port_codes import read_codes

    opened = open_model(model, shape)
    graph = with_macs(opened.graph, mac, layers)
    problems: list[Problem] = []
    try:
        graph = with_result(graph, result)
    except OptionError as error:
        problems += error.problems
    try:
        graph = with_codes(graph, read_codes(compress))
    except OptionError as error:
        problems += error.problems
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 256:
        problems.append(Problem("threads", f"{shown(repr(threads))} is no number of threads", "choose 1 … 256"))
    if problems:
        raise OptionError("matrix engine", problems)
    for sentence in opened.notes:
        _log.warning("%s: %s", shown(title_of(graph)), sentence)
    return EmulatedEngine(graph, opened.host, threads)


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return input sizes from texts such as ``input_ids=1x128``; raise :class:`OptionError` with all that are none."""
    shapes, problems = {}, []
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        why = f"{shown(repr(texts), 80)} is no list of texts"
        raise OptionError("input shapes", [Problem("shape", why, "give a list such as ['x=1x128']")])
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        parts = sizes.replace("×", "x").split("x")
        if not equals or not name or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            problems.append(
                Problem("shape", f"{shown(repr(text))} is no shape", "write NAME=SIZExSIZE, such as x=1x128")
            )
        elif name in shapes:
            problems.append(Problem("shape", f"input {shown(name)!r} is given two shapes", "give one"))
        else:
            shapes[name] = tuple(map(int, parts))
    if problems:
        raise OptionError("input shapes", problems)
    return shapes


def plot_shifts(histograms: Mapping[str, np.ndarray], title: str = "") -> str:
    """Return an SVG picture of what ``Engine.shift_histograms`` gave: how often which shift is needed, per layer."""
    from approxhw.report.engines.shifts import draw_shifts

    if not isinstance(histograms, Mapping):
        why = f"{shown(type(histograms).__name__)} is no dict"
        raise OptionError("picture of shifts", [Problem("histograms", why, "give what shift_histograms returned")])

    return draw_shifts(histograms, title)


def write_shifts(path: Path, histograms: Mapping[str, np.ndarray], title: str = "") -> None:
    """Write that picture to the file *path*."""
    path.write_text(plot_shifts(histograms, title), encoding="utf-8")
