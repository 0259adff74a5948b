"""The text form of a Graph (``.axir``, ``docs/ir.md``): print it, and parse it back to an equal Graph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from approxhw.common.errors import GraphError, Problem, shown
from approxhw.ir.kinds.tensor.beside import MOST_INLINE, Beside, Fetch, fetched, put, spell_bytes, stands_beside
from approxhw.numerics.formats import Format, parse_format

from .graph import KINDS, Graph, Node, Op, kind_of
from .kinds import Constant, SomeKind, Type

HEADER = "axir 1"
MAXIMUM_CHARACTERS = 1 << 28
MAXIMUM_LINES = 100_000
_MAXIMUM_PROBLEMS = 20
_MOST_INPUTS = max(kind.most_inputs for kind in KINDS.values() if not kind.tensor)

_LINE = re.compile(r"([a-z][a-z0-9_]{0,63}) : (\S{1,3000}) = ([a-z]{1,20})(?:\(([a-z0-9_, ]{0,300000})\))?(?= |\Z)")
_TYPE = re.compile(r"(\S+)\[((?:\d{1,9}(?:,\d{1,9}){0,7})?)\]\Z")


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
    attributes = _attributes(node, beside)
    text = f" {json.dumps(attributes, separators=(',', ':'))}" if attributes else ""
    origin = f" @{json.dumps(node.origin)}" if node.origin else ""
    return f"{node.name} : {node.type} = {node.kind}{inputs}{text}{origin}"


def _attributes(node: Node, beside: Beside | None) -> dict[str, object]:
    """Return the attributes of *node* as JSON knows them, what is large *beside* the text."""
    op = node.op
    if beside is not None and isinstance(op, Constant) and op.data.size > MOST_INLINE and op.data.dtype != object:
        return {"data": put(op.data, beside)}
    told = kind_of(op).attributes(op)
    return {name: spell_bytes(v, beside) if isinstance(v, bytes) else v for name, v in told.items()}


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
        self.words: dict[str, Any] = {}  # each of the type that its reader in _WORDS returns
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


_WORDS: dict[str, Callable[[str], object]] = {
    "graph": _name,
    "output": _name,
    "source": _source,
    "labels": _labels,
    "results": _results,
}


def _json(text: str) -> object:
    value, rest = _json_prefix(text)
    if rest.strip():
        raise ValueError(f"unexpected text after JSON: {rest[:40]!r}")
    return value


def _json_prefix(text: str) -> tuple[object, str]:
    value, end = _DECODER.raw_decode(text)
    return value, text[end:]


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of a Graph")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _parse_node(match: re.Match[str], rest: str, fetch: Fetch | None) -> Node:
    name, type_text, kind, inputs_text = match.groups()
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of Node; there are {', '.join(KINDS)}")
    type_ = _parse_type(type_text)
    attributes: object = {}
    origin: object = ""
    if rest.startswith(" {"):
        attributes, rest = _json_prefix(rest[1:])
    if rest.startswith(" @"):
        origin, rest = _json_prefix(rest[2:])
    if rest.strip() or not isinstance(attributes, dict) or not isinstance(origin, str):
        raise ValueError(f'a Node ends with {{attributes}} and @"origin", not {rest[:40] or origin!r}')
    inputs = tuple(inputs_text.split(", ")) if inputs_text else ()
    if len(inputs) > (most := max(_MOST_INPUTS, KINDS[kind].most_inputs)):
        raise ValueError(f"{len(inputs)} inputs, no kind has more than {most}")
    return Node(name, _parse_op(KINDS[kind], attributes, type_.format, fetch), inputs, type_, origin)


def _parse_type(text: str) -> Type:
    match = _TYPE.match(text)
    if not match:
        raise ValueError(f"no type: {text[:80]!r}")
    return Type(tuple(int(d) for d in match[2].split(",") if d), parse_format(match[1]))


def _parse_op(kind: SomeKind, given: Mapping[str, object], fmt: Format, fetch: Fetch | None) -> Op:
    unknown, missing = set(given) - set(kind.readers), set(kind.readers) - set(given) - kind.optional
    if unknown or missing:
        fault = f"lacks {', '.join(sorted(missing))}" if missing else f"has no {shown(', '.join(sorted(unknown)))}"
        raise ValueError(f"{kind.keyword} {fault}")
    values = {name: fetched(value, fetch) if stands_beside(value) else value for name, value in given.items()}
    made: Op = kind.op(**{name: kind.readers[name](value, fmt) for name, value in values.items()})
    return made
