"""A frontend: a .toy file, JSON of a network of two layers, or a dict of the same, becomes a Graph."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from approxhw.common.errors import InvalidModelError, Problem, shown
from approxhw.frontends.registry import Frontend
from approxhw.ir.graph import Graph, Node, identifier
from approxhw.ir.kinds import ArgMax, Constant, Dense, Input, Relu, Type
from approxhw.numerics.formats import FLOAT64, Fixed

ARRAYS = {"weights0": 2, "bias0": 1, "weights1": 2, "bias1": 1}
"""Key → axes; weights are outputs × inputs."""


def read(source: Path | Mapping[str, Any], name: str | None) -> Graph:
    """Return the Graph of *source*; raise :class:`InvalidModelError` listing all that is wrong."""
    title = source.name if isinstance(source, Path) else "a dict"
    try:
        content = json.loads(source.read_text(encoding="utf-8")) if isinstance(source, Path) else source
        arrays = {key: np.array(content[key], dtype=np.float64) for key in ARRAYS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"it is no network ({shown(error)})"
        raise InvalidModelError(title, [Problem(title, why, f"give {', '.join(ARRAYS)}")]) from error
    problems = [
        Problem(key, f"it has {arrays[key].ndim} axes, not {axes}")
        for key, axes in ARRAYS.items()
        if arrays[key].ndim != axes
    ]
    if not problems and arrays["weights0"].shape[0] != arrays["weights1"].shape[1]:
        problems.append(
            Problem(
                "weights1", f"it reads {arrays['weights1'].shape[1]} values, weights0 gives {len(arrays['weights0'])}"
            )
        )
    if problems:
        raise InvalidModelError(title, problems)
    stem = name or (source.stem if isinstance(source, Path) else "toy")
    return _graph(identifier(stem), title, arrays)


def _graph(name: str, title: str, arrays: Mapping[str, np.ndarray]) -> Graph:
    features = tuple(f"x{i}" for i in range(arrays["weights0"].shape[1]))
    hidden, classes = len(arrays["weights0"]), len(arrays["weights1"])
    index = Type((), Fixed(max(1, (classes - 1).bit_length()), False))
    nodes = (
        Node("x", Input(features, features), (), Type((len(features),), FLOAT64)),
        *(Node(key, Constant(data), (), Type(data.shape, FLOAT64)) for key, data in arrays.items()),
        Node("sum0", Dense(), ("x", "weights0", "bias0"), Type((hidden,), FLOAT64)),
        Node("relu0", Relu(), ("sum0",), Type((hidden,), FLOAT64)),
        Node("sum1", Dense(), ("relu0", "weights1", "bias1"), Type((classes,), FLOAT64)),
        Node("class_index", ArgMax(), ("sum1",), index),
    )
    return Graph(name, nodes, "class_index", tuple(range(classes)), source=title)


FRONTEND = Frontend(read, suffixes=(".toy",), accepts=lambda source: isinstance(source, dict) and "weights0" in source)
