"""The text form of a Graph (``.axir``, ``docs/ir.md``): print it, and parse it back to an equal Graph."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from approxhw.common.errors import GraphError, Problem, shown
from approxhw.ir.kinds.tensor_text import (
    MOST_INLINE,
    TENSOR_ATTRIBUTES,
    TENSOR_OPTIONAL,
    Beside,
    Fetch,
    fetched,
    put,
    read_tensor_attribute,
    tensor_attributes,
)
from approxhw.ir.kinds.tensors import TENSOR_ARITY
from approxhw.numerics.formats import EightBit, Encoding, Fixed, Float, Format, Text, parse_format
from approxhw.numerics.mac.arithmetic import parse_arithmetic

from .graph import (
    ARITY,
    KINDS,
    ArgMax,
    Clip,
    Constant,
    Decode,
    Dense,
    Encode,
    Graph,
    Input,
    Node,
    Op,
    Requantize,
    Threshold,
    Type,
)

HEADER = "axir 1"
MAXIMUM_CHARACTERS = 1 << 28
MAXIMUM_LINES = 100_000
_MAXIMUM_PROBLEMS = 20
_MOST_INPUTS = max(ARITY.values()) + 1  # masks, or a table, besides

_LINE = re.compile(r"([a-z][a-z0-9_]{0,63}) : (\S{1,3000}) = ([a-z]{1,20})(?:\(([a-z0-9_, ]{0,300000})\))?(?= |\Z)")
_TYPE = re.compile(r"(\S+)\[((?:\d{1,9}(?:,\d{1,9}){0,7})?)\]\Z")
_FRACTION = re.compile(r"-?\d{1,4000}(?:/\d{1,4000})?\Z")


def print_graph(graph: Graph, beside: Beside | None = None) -> str:
    """Return *graph* as text, one Node a line, pure ASCII; :func:`parse_graph` gives an equal Graph back.

    *beside*: takes the large arrays of a tensor Graph, by digest; where it is None, everything stands in the text.
    """
    lines = [HEADER, f"graph {graph.name}"]
    if graph.source:
        lines.append(f"source {json.dumps(graph.source)}")
    if graph.labels:
        lines.append(f"labels {json.dumps(list(graph.labels))}")
    lines += [_node_line(node, beside if graph.is_tensor else None) for node in graph.nodes]
    lines.append(f"output {graph.output}")
    if graph.results:
        lines.append(f"results {json.dumps(graph.results)}")
    return "\n".join(lines) + "\n"


def _node_line(node: Node, beside: Beside | None) -> str:
    inputs = f"({', '.join(node.inputs)})" if node.inputs else ""
    attributes = _attributes(node.op, beside)
    text = f" {json.dumps(attributes, separators=(',', ':'))}" if attributes else ""
    origin = f" @{json.dumps(node.origin)}" if node.origin else ""
    return f"{node.name} : {node.type} = {node.kind}{inputs}{text}{origin}"


def _attributes(op: Op, beside: Beside | None = None) -> dict[str, Any]:
    if isinstance(op, Input):
        encoding = op.encoding.attributes() if op.encoding else None
        return {"features": list(op.features), "titles": list(op.titles), "encoding": encoding}
    if isinstance(op, Constant):
        if beside is not None and op.data.size > MOST_INLINE and op.data.dtype != object:
            return {"data": put(op.data, beside)}
        data = op.data if op.data.dtype != object else np.vectorize(_plain, otypes=[object])(op.data)
        whole = op.data.dtype.kind != "f" or np.isfinite(op.data).all()
        return {"data": data.tolist() if whole else _special(data.tolist())}
    if isinstance(op, Dense):
        return {"arithmetic": str(op.arithmetic)} if op.arithmetic else {}
    if isinstance(op, Clip):
        return {"low": _plain(op.low), "high": _plain(op.high)}
    if isinstance(op, Requantize):
        multiplier, offset = [_plain(v) for v in op.multiplier], [_plain(v) for v in op.offset]
        ends = {"low": _plain(op.low), "high": _plain(op.high)}
        return {"multiplier": multiplier, "shift": _plain(op.shift), "offset": offset, **ends}
    if isinstance(op, Threshold):
        return {"threshold": _plain(op.threshold)}
    if isinstance(op, Encode | Decode):
        return {"maxima": [float(value) for value in op.maxima]}
    if isinstance(op, ArgMax) and (op.width is not None or op.bits):
        return {"width": _plain(op.width), "bits": [[_plain(p) for p in positions] for positions in op.bits]}
    return tensor_attributes(op, beside)


_SPECIALS = ("nan", "inf", "-inf")
"""Numbers that JSON has no word for; constants of tensor Graphs may hold them."""


def _special(value: Any) -> Any:
    """Return *value*, a nested list of numbers, with texts in place of NaN and infinity."""
    if isinstance(value, list):
        return [_special(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _plain(value: Any) -> Any:
    """Return a number as JSON knows it: int, float, or a fraction as text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Fraction):
        return str(value)
    return float(value) if isinstance(value, float | np.floating) else int(value)


def parse_graph(text: str, subject: str = "text", fetch: Fetch | None = None) -> Graph:
    """Return the Graph that *text* spells.

    *subject* names the text in errors. *fetch* gives the arrays beside it, by digest. The Graph is well formed but not
    verified: ``verifier.verify`` does that.
    Raises :class:`GraphError` with line numbers for anything else; nothing in the text is ever evaluated.
    """
    lines = text[: MAXIMUM_CHARACTERS + 1].split("\n", MAXIMUM_LINES + 1)
    if len(text) > MAXIMUM_CHARACTERS or len(lines) > MAXIMUM_LINES:
        why = f"it has more than {MAXIMUM_CHARACTERS} characters or {MAXIMUM_LINES} lines"
        raise GraphError(subject, [Problem("text", why)])
    state = _State(fetch)
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        try:
            _parse_line(state, line.removesuffix("\r"))
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            problems.append(Problem(f"line {number}", shown(error, 200)))
        except RecursionError:
            problems.append(Problem(f"line {number}", "its JSON is nested too deeply"))
        if len(problems) >= _MAXIMUM_PROBLEMS or not (state.header or not state.begun):
            break  # what is no Graph at all gets one line, not thousands
    if not problems:
        missing = [name for name in ("graph", "output") if name not in state.words]
        problems += [Problem("text", f"it has no '{name} NAME' line") for name in missing]
    if problems:
        raise GraphError(subject, problems)
    words = state.words
    told = (words.get(name, default) for name, default in (("labels", ()), ("source", ""), ("results", ())))
    return Graph(words["graph"], tuple(state.nodes), words["output"], *told)


@dataclass
class _State:
    """What has been read so far."""

    fetch: Fetch | None = None
    header: bool = False
    begun: bool = False

    def __post_init__(self) -> None:
        self.words: dict[str, Any] = {}
        self.nodes: list[Node] = []


def _parse_line(state: _State, line: str) -> None:
    if not line.strip() or line.startswith("#"):
        return
    state.begun = True
    if not state.header:
        if line != HEADER:
            raise ValueError(f"a Graph starts with {HEADER!r}, this starts with {line[:40]!r}")
        state.header = True
        return
    if match := _LINE.match(line):
        state.nodes.append(_parse_node(match, line[match.end() :], state.fetch))
        return
    word, _, rest = line.partition(" ")
    if word not in _WORDS:
        raise ValueError(f"neither 'NAME : TYPE = KIND(...)' nor one of {', '.join(_WORDS)}: {line[:60]!r}")
    if word in state.words:
        raise ValueError(f"a second '{word}' line")
    state.words[word] = _WORDS[word](rest)


def _name(text: str) -> str:
    if not re.fullmatch(r"\S{1,200}", text):
        raise ValueError(f"no name: {text[:60]!r}")
    return text


def _source(text: str) -> str:
    value = _json(text)
    if not isinstance(value, str):
        raise ValueError("source is a JSON text")
    return value


def _labels(text: str) -> tuple[str | int, ...]:
    value = _json(text)
    if not isinstance(value, list) or not all(type(label) in (str, int) for label in value):
        raise ValueError("labels is a JSON list of texts and integers")
    return tuple(value)


def _results(text: str) -> tuple[tuple[str, str], ...]:
    value = _json(text)
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair) for pair in value
    ):
        raise ValueError("results is a JSON list of pairs: a title, and the value that leaves")
    return tuple((title, name) for title, name in value)


_WORDS: dict[str, Callable[[str], Any]] = {
    "graph": _name,
    "output": _name,
    "source": _source,
    "labels": _labels,
    "results": _results,
}


def _json(text: str) -> Any:
    value, rest = _json_prefix(text)
    if rest.strip():
        raise ValueError(f"unexpected text after JSON: {rest[:40]!r}")
    return value


def _json_prefix(text: str) -> tuple[Any, str]:
    value, end = _DECODER.raw_decode(text)
    return value, text[end:]


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number of a Graph")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _parse_node(match: re.Match[str], rest: str, fetch: Fetch | None) -> Node:
    name, type_text, kind, inputs_text = match.groups()
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of Node; there are {', '.join(KINDS)}")
    type_ = _parse_type(type_text)
    attributes: Any = {}
    origin: Any = ""
    if rest.startswith(" {"):
        attributes, rest = _json_prefix(rest[1:])
    if rest.startswith(" @"):
        origin, rest = _json_prefix(rest[2:])
    if rest.strip() or not isinstance(attributes, dict) or not isinstance(origin, str):
        raise ValueError(f'a Node ends with {{attributes}} and @"origin", not {rest[:40] or origin!r}')
    inputs = tuple(inputs_text.split(", ")) if inputs_text else ()
    most = TENSOR_ARITY[KINDS[kind]][1] if kind in TENSOR_ATTRIBUTES else _MOST_INPUTS
    if len(inputs) > most:
        raise ValueError(
            f"{len(inputs)} inputs, no {kind if kind in TENSOR_ATTRIBUTES else 'kind'} has more than {most}"
        )
    return Node(name, _parse_op(kind, attributes, type_.format, fetch), inputs, type_, origin)


def _parse_type(text: str) -> Type:
    match = _TYPE.match(text)
    if not match:
        raise ValueError(f"no type: {text[:80]!r}")
    return Type(tuple(int(d) for d in match[2].split(",") if d), parse_format(match[1]))


def _parse_op(kind: str, given: dict[str, Any], fmt: Format, fetch: Fetch | None = None) -> Op:
    wanted = _ATTRIBUTES.get(kind, {})
    names = TENSOR_ATTRIBUTES.get(kind, frozenset(wanted))
    optional = TENSOR_OPTIONAL.get(kind, frozenset(_OPTIONAL.get(kind, ())))
    unknown, missing = set(given) - names, names - set(given) - optional
    if unknown or missing:
        fault = f"lacks {', '.join(sorted(missing))}" if missing else f"has no {shown(', '.join(sorted(unknown)))}"
        raise ValueError(f"{kind} {fault}")
    if kind in TENSOR_ATTRIBUTES:
        values = {name: read_tensor_attribute(kind, name, value, fetch) for name, value in given.items()}
    elif kind == "constant" and isinstance(given["data"], dict):
        values = {"data": fetched(given["data"], fetch)}
    else:
        values = {name: wanted[name](value, fmt) for name, value in given.items()}
    op: Op = KINDS[kind](**values)
    return op


def _integer(value: Any, fmt: Format | None = None) -> int:
    if type(value) is not int:
        raise ValueError(f"an integer is needed, not {shown(value)!r}")
    return value


def _number(value: Any, fmt: Format | None = None) -> Any:
    """Return an int, a float, or the fraction that a text spells."""
    if isinstance(value, str):
        if not _FRACTION.match(value):
            raise ValueError(f"no fraction: {value[:40]!r}")
        return Fraction(value)
    if type(value) not in (int, float):
        raise ValueError(f"a number is needed, not {shown(value)!r}")
    return value


def _bound(value: Any, fmt: Format) -> Any:
    return None if value is None else _number(value)


def _integers(value: Any, fmt: Format) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of integers is needed, not {shown(value)!r}")
    return tuple(_integer(v) for v in value)


def _reals(value: Any, fmt: Format) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(type(v) in (int, float) for v in value):
        raise ValueError("a list of numbers is needed")
    return tuple(float(v) for v in value)


def _positions(value: Any) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError("bits is a list of lists of positions")
    return tuple(tuple(_integer(position) for position in row) for row in value)


def _texts(value: Any, fmt: Format | None = None) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("a list of texts is needed")
    return tuple(value)


def _data(value: Any, fmt: Format) -> np.ndarray:
    """Return nested lists as the array that ``Constant`` holds in this format; ragged lists are refused."""
    shape, level = [], value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat: list[Any] = []
    _flatten(value, tuple(shape), flat)
    if isinstance(fmt, Float):
        if not all(type(v) in (int, float) or v in _SPECIALS for v in flat):
            raise ValueError(f"data of {fmt} is made of numbers")
        array = np.array([float(v) for v in flat], dtype=np.float64)
    elif isinstance(fmt, Text):
        array = np.array([*_texts(flat, fmt), None], dtype=object)[:-1]
    elif isinstance(fmt, Fixed | EightBit):
        codes = [_integer(v) for v in flat]
        small = all(-(1 << 63) <= code < 1 << 63 for code in codes)
        array = np.array(codes, dtype=np.int64 if small else object)
    else:
        array = np.empty(len(flat), dtype=object)
        array[:] = [Fraction(_number(v)) for v in flat]
    return array.reshape(shape)


def _flatten(value: Any, shape: tuple[int, ...], flat: list[Any]) -> None:
    if not shape:
        if isinstance(value, list):
            raise ValueError("data is ragged")
        flat.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError("data is ragged")
    for element in value:
        _flatten(element, shape[1:], flat)


def _encoding(value: Any, fmt: Format) -> Encoding | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"bits", "rule", "low", "high"}:
        raise ValueError("an encoding has bits, rule, low and high")
    ends = []
    for name in ("low", "high"):
        if not isinstance(value[name], list) or not all(type(v) in (int, float) for v in value[name]):
            raise ValueError(f"{name} of an encoding is a list of numbers")
        ends.append(tuple(float(v) for v in value[name]))
    if not isinstance(value["rule"], str):
        raise ValueError("rule of an encoding is a text")
    return Encoding(_integer(value["bits"]), value["rule"], *ends)


_ATTRIBUTES: dict[str, dict[str, Callable[[Any, Format], Any]]] = {
    "input": {"features": _texts, "titles": _texts, "encoding": _encoding},
    "constant": {"data": _data},
    "dense": {"arithmetic": lambda value, fmt: parse_arithmetic(str(value))},
    "clip": {"low": _bound, "high": _bound},
    "requantize": {
        "multiplier": _integers,
        "shift": _integer,
        "offset": _integers,
        "low": _integer,
        "high": _integer,
    },
    "threshold": {"threshold": _number},
    "encode": {"maxima": _reals},
    "decode": {"maxima": _reals},
    "argmax": {
        "width": lambda value, fmt: None if value is None else _integer(value),
        "bits": lambda value, fmt: _positions(value),
    },
}
"""Kind → attribute → reader of its JSON value; kinds that are not listed have none."""

_OPTIONAL = {"input": {"encoding"}, "dense": {"arithmetic"}, "clip": {"low", "high"}, "argmax": {"width", "bits"}}
"""Kind → attributes that may be left out."""
