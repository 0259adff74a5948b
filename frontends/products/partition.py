"""A model cut at its matrix products: what lies between them runs in onnxruntime, the products are handed to the caller.

Nodes are put on levels: a level is one onnxruntime session and the products that read what it and earlier levels made. So a
model has as many sessions as products follow one another, and nothing is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from approxhw.common.errors import InvalidDataError, InvalidModelError, Problem, UnsupportedModelError, shown
from approxhw.frontends.runtime.sessions import open_session, run_session

from .model import EngineModel, is_product, misfit, read_engine_model, reads
from .pieces import element_of, measure, submodel, type_word
from .products import MisfitError, Product, Sizes, sizes_of

MAXIMUM_HELD = 1280 << 20
"""Most bytes that the activations held at one time may take."""

LARGE = 1 << 20
"""Constants of more bytes are fed to sessions, which would else hold a copy each."""

Multiply = Callable[[Product, Sequence[np.ndarray]], np.ndarray]
"""What a run does with a product: operands → the node's output."""


@dataclass(frozen=True)
class Segment:
    """Nodes that run in one session: names that it reads from outside, and those that others read of it."""

    session: Any
    feeds: tuple[str, ...]
    makes: tuple[str, ...]


@dataclass(frozen=True)
class Level:
    """A session (None where nothing lies between products), and the products after it.

    ``spent``: what nobody reads after the session; ``dies``: nor after the products.
    """

    segment: Segment | None
    products: tuple[Product, ...]
    spent: tuple[str, ...]
    dies: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A product that runs on the engine, at the sizes the model was opened with: ``count`` times M × K by K × N."""

    name: str
    op: str
    count: int
    m: int
    k: int
    n: int
    weights: bool

    @property
    def products(self) -> int:
        """Return how many multiply-adds that is."""
        return self.count * self.m * self.k * self.n


@dataclass(frozen=True)
class Host:
    """A model ready to run. ``constants``: names that products read and that are the same in every run."""

    model: EngineModel
    constants: dict[str, np.ndarray]
    constant_names: frozenset[str]
    types: Mapping[str, str]
    levels: tuple[Level, ...]
    layers: tuple[Layer, ...]
    alone: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def run(self, feeds: Mapping[str, np.ndarray], multiply: Multiply) -> dict[str, np.ndarray]:
        """Return the model's outputs by name, every product carried out by *multiply*; *feeds* are checked already."""
        return _execute(self.model, self.levels, self.constants, feeds, multiply)

    def plain(self, product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
        """Return what onnxruntime itself makes of *product*."""
        if product.name not in self.alone:
            kinds = {name: self.types[name] for name in product.inputs if name}
            proto = submodel(self.model, [product.node], kinds, [product.output], {})
            self.alone[product.name] = open_session(proto, self.model.title)
        given = dict(zip(product.inputs, operands, strict=True))
        return run_session(self.alone[product.name], None, {k: v for k, v in given.items() if k}, self.model.title)[0]

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return *inputs* as arrays of the model's types; raise :class:`InvalidDataError` with all that does not fit."""
        problems = []
        known = {value.name: value for value in self.model.inputs}
        for name in inputs:
            if name not in known:
                said = ", ".join(map(shown, known))
                problems.append(
                    Problem(f"input {shown(name)!r}", "the model has no such input", f"its inputs are {said}")
                )
        feeds = {}
        for name, value in known.items():
            if name not in inputs:
                problems.append(Problem(f"input {shown(name)!r}", "is missing", f"give an array: {value}"))
                continue
            array = np.asarray(inputs[name])
            wanted = np.dtype(value.dtype)
            same = array.dtype.kind == wanted.kind or (array.dtype.kind in "iu" and wanted.kind in "iuf")
            if not same and wanted.kind != "O":
                problems.append(Problem(f"input {shown(name)!r}", f"holds {array.dtype}, the model reads {wanted}"))
            elif why := misfit(value, array.shape):
                problems.append(Problem(f"input {shown(name)!r}", why, f"the model says {value}"))
            else:
                feeds[name] = array.astype(wanted, copy=False)
        if problems:
            raise InvalidDataError(f"inputs of {self.model.title}", problems)
        return feeds


def open_host(source: Any, shape: Mapping[str, Sequence[int]] | None = None) -> Host:
    """Return the model of *source*, cut at its products; *shape* as for ``read_engine_model``, which says what it raises."""
    model = read_engine_model(source, shape)
    measure(model)
    types = {name: type_word(array.dtype.name) for name, array in model.constants.items()}
    types |= {value.name: type_word(value.dtype) for value in model.inputs}
    try:
        constants = _settle(model, types)
        levels = _levels(model, _products(model), types, constants)
        layers = _dry_run(model, levels, constants)
    except MisfitError as error:
        raise InvalidModelError(shown(model.title), [Problem(error.product.title, error.why)]) from error
    except InvalidDataError as error:  # what onnxruntime says of constants and plain inputs
        raise InvalidModelError(shown(model.title), error.problems) from error
    if not layers:
        why = "its matrix products are of whole numbers: the engine multiplies floating-point ones"
        remedy = "give the float model, not the quantised one"
        raise UnsupportedModelError(shown(model.title), [Problem("model", why, remedy)])
    return Host(model, constants, frozenset(constants), types, levels, layers)


def _products(model: EngineModel) -> dict[int, Product]:
    """Return the products by position among the nodes, each with a name of its own."""
    from onnx import helper

    taken: set[str] = set()
    found = {}
    for position, node in enumerate(model.nodes):
        if not is_product(node) or node.output[0] in model.fixed:
            continue
        name = node.name if node.name and node.name not in taken else node.output[0]
        taken.add(name)
        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        given = {
            key: value.decode(errors="replace") if isinstance(value, bytes) else value for key, value in given.items()
        }
        found[position] = Product(name, node.op_type, tuple(node.input), node.output[0], given, position, node)
    return found


def _settle(model: EngineModel, types: dict[str, str]) -> dict[str, np.ndarray]:
    """Return all constants that something still reads, those that nodes make of others computed."""
    nodes, later = [], set(model.outputs)
    for node in model.nodes:
        if all(name in model.fixed for name in node.output if name):
            nodes.append(node)
        else:
            later.update(reads(node))
    made = [name for node in nodes for name in node.output if name in later]
    constants = dict(model.constants)
    if made:
        segment = _segment(model, nodes, made, types, constants)
        constants.update(zip(made, _run(segment, constants, model.title), strict=True))
    return {name: array for name, array in constants.items() if name in later}


def _levels(
    model: EngineModel, products: Mapping[int, Product], types: dict[str, str], constants: Mapping[str, np.ndarray]
) -> tuple[Level, ...]:
    at: dict[str, int] = {}
    nodes: dict[int, list[Any]] = {}
    placed: dict[int, list[Product]] = {}
    last: dict[str, int] = {}
    readers: dict[str, set[int]] = {}  # levels whose sessions read a name; products read at theirs
    for position, node in enumerate(model.nodes):
        if all(name in model.fixed for name in node.output if name):
            continue
        level = max((at.get(name, 0) for name in reads(node)), default=0)
        for name in reads(node):
            last[name] = max(last.get(name, 0), level)
        if position in products:
            placed.setdefault(level, []).append(products[position])
            at[products[position].output] = level + 1
            for name in reads(node):
                readers.setdefault(name, set()).add(-1)
        else:
            nodes.setdefault(level, []).append(node)
            at.update((name, level) for name in node.output if name)
            for name in reads(node):
                readers.setdefault(name, set()).add(level)
    kept = set(model.outputs)
    levels = []
    for level in range(max((*nodes, *placed)) + 1):
        segment = None
        if level in nodes:
            made = [name for node in nodes[level] for name in node.output if name]
            makes = [name for name in made if name in kept or readers.get(name, set()) - {level}]
            segment = _segment(model, nodes[level], makes, types, constants)
        here = tuple(placed.get(level, ()))
        types.update((product.output, types[product.inputs[0]]) for product in here)
        dies = tuple(
            name for name, when in last.items() if when == level and name not in kept and name not in constants
        )
        wanted = {name for product in here for name in product.inputs}
        spent = tuple(name for name in dies if name not in wanted)
        levels.append(Level(segment, here, spent, dies))
    return tuple(levels)


def _segment(
    model: EngineModel,
    nodes: Sequence[Any],
    makes: Sequence[str],
    types: dict[str, str],
    constants: Mapping[str, np.ndarray],
) -> Segment:
    """Return *nodes* in a session; the types of what it makes are put into *types*."""
    inside = {name for node in nodes for name in node.output}
    read = list(dict.fromkeys(name for node in nodes for name in reads(node) if name not in inside))
    held = {name: constants[name] for name in read if name in constants and constants[name].nbytes <= LARGE}
    fed = [name for name in read if name not in held and name not in model.odd]
    proto = submodel(model, nodes, {name: types[name] for name in fed}, makes, held)
    proto.graph.initializer.extend(model.odd[name] for name in read if name in model.odd)
    session = open_session(proto, model.title)
    problems = []
    for value in session.get_outputs():
        types[value.name] = value.type
        if element_of(value.type) is None and value.name not in model.outputs:
            why = f"{shown(value.name)!r} has the type {shown(value.type)}, which cannot leave onnxruntime"
            problems.append(Problem("model", why, "export the model in float32"))
    if problems:
        raise UnsupportedModelError(shown(model.title), problems)
    return Segment(session, tuple(fed), tuple(makes))


def _run(segment: Segment, values: Mapping[str, np.ndarray], title: str) -> list[np.ndarray]:
    return run_session(segment.session, segment.makes, {name: values[name] for name in segment.feeds}, title)


def _execute(
    model: EngineModel,
    levels: Sequence[Level],
    constants: Mapping[str, np.ndarray],
    feeds: Mapping[str, np.ndarray],
    multiply: Multiply,
) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {**constants, **feeds}
    for level in levels:
        if level.segment is not None:
            values.update(zip(level.segment.makes, _run(level.segment, values, model.title), strict=True))
        for name in level.spent:
            values.pop(name, None)
        for product in level.products:
            operands = [values[name] if name else np.empty(0, np.float32) for name in product.inputs]
            if any(each.nbytes for each in operands):
                held = sum(
                    each.nbytes for name, each in values.items() if name not in constants and each.dtype != object
                )
                _bound(product, operands, held)
            values[product.output] = multiply(product, operands)
        for name in level.dies:
            values.pop(name, None)
    return {name: values[name] for name in model.outputs}


def _bound(product: Product, operands: Sequence[np.ndarray], held: int) -> None:
    """Refuse a product whose result, beside what is *held* already, would take more memory than the engine may."""
    sizes = sizes_of(product, [np.shape(each) for each in operands])
    total = held + 4 * (math.prod(sizes.output) + sizes.scratch)
    if total > MAXIMUM_HELD:
        why = f"activations of {total >> 20} MiB would be held at once; {MAXIMUM_HELD >> 20} MiB are the most"
        raise MisfitError(product, why)


def _dry_run(model: EngineModel, levels: Sequence[Level], constants: Mapping[str, np.ndarray]) -> tuple[Layer, ...]:
    """Return the layers in the model's order: its sessions run once on plain inputs, its products give zeros."""
    found: dict[int, Layer] = {}

    def note(product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
        sizes = sizes_of(product, [np.shape(each) for each in operands])
        if operands[0].dtype.kind == "f":
            weights = any(name in constants for name in product.inputs[:2])
            found[product.position] = _layer(product, sizes, weights)
        return np.zeros(sizes.output, operands[0].dtype)

    feeds = {}
    for value in model.inputs:
        dtype = np.dtype(value.dtype)
        feeds[value.name] = np.full(
            model.sizes[value.name], "" if dtype.kind == "O" else int(dtype.kind in "fb"), dtype
        )
    _execute(model, levels, constants, feeds, note)
    return tuple(found[position] for position in sorted(found))


def _layer(product: Product, sizes: Sizes, weights: bool) -> Layer:
    return Layer(product.name, product.op, sizes.count, sizes.m, sizes.k, sizes.n, weights)
