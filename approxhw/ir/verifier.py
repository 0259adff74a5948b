"""The verifier: every rule that a Graph must keep (``docs/ir.md``), all broken ones reported at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from approxhw.common.errors import GraphError, Problem, shown
from approxhw.ir.kinds.tensor.integer_rules import integer_data_problems
from approxhw.ir.kinds.tensor.rules import data_problems, kind_problems, value_problems
from approxhw.numerics.formats import MAXIMUM_BITS, EightBit, Fixed, Float, Rational, fixed_for

from .graph import IDENTIFIER, VERILOG_WORDS, Graph, Node, arity, has_range, is_legal, kind_of, range_of
from .kinds import Add, Constant, Feed, Host, Input, Lookup, Operand, Operands, Part, Range, Relu

MAXIMUM_ELEMENTS = 1 << 24
"""Largest number of elements of one value; stops nonsense before anything is allocated for it."""

_Rule = Callable[[Graph, frozenset[str]], list[Problem]]


def verify(graph: Graph) -> None:
    """Raise :class:`GraphError` that lists every broken rule of *graph*; return where none is broken."""
    found = problems(graph)
    if found:
        raise GraphError(f"Graph {shown(graph.name)}", found)


def problems(graph: Graph) -> list[Problem]:
    """Return every broken rule; ``why`` starts with the rule's name in brackets, ``where`` is the Node's name."""
    if graph.is_tensor:
        return _tensor_problems(graph)
    found: list[Problem] = []
    broken: set[str] = set()
    for name, rule in RULES.items():
        new = rule(graph, frozenset(broken))
        if name in _STRUCTURAL:
            broken.update(problem.where for problem in new)
            # what decodes broken codes is no constant that later rules could look at
            broken.update(node.name for node in graph.nodes if _folds(node) and broken & {*node.inputs})
        found += [replace(problem, why=f"[{name}] {problem.why}") for problem in new]
    return found


def _tensor_problems(graph: Graph) -> list[Problem]:
    """Return every broken rule of a tensor Graph: names, order, then each Node whose operands are sound."""
    found = [replace(problem, why=f"[names] {problem.why}") for problem in _names(graph, frozenset())]
    found += [replace(problem, why=f"[order] {problem.why}") for problem in _order(graph, frozenset())]
    titles: set[str] = set()
    sound: dict[str, Node] = {}
    for node in graph.nodes:
        broken = kind_problems(node.op, len(node.inputs) if not isinstance(node.op, Constant) else 1)
        if not (is_legal(node.op) and (kind_of(node.op).tensor or isinstance(node.op, Constant | Relu | Add | Lookup))):
            broken = [("kinds", f"{node.kind} works on one row; a tensor Graph has none")]
        if isinstance(node.op, Feed) and node.op.title in titles:
            broken.append(("names", f"two feeds are called {shown(node.op.title)!r}"))
        titles |= {node.op.title} if isinstance(node.op, Feed) else set()
        operands = [sound[name] for name in node.inputs if name in sound]
        if not broken and len(operands) == len(node.inputs):
            told = [(operand.type.shape, operand.type.format) for operand in operands]
            own = (node.type.shape, node.type.format)
            broken = value_problems(node.op, own, told) if not isinstance(node.op, Constant) else []
            if isinstance(node.op, Constant):
                broken = data_problems(node.op.data, own)
            elif not broken:
                held = [operand.op.data if isinstance(operand.op, Constant) else None for operand in operands]
                broken = integer_data_problems(node.op, held, [fmt for _, fmt in told])
            if isinstance(node.op, Part):
                source = operands[0].op
                if not isinstance(source, Host) or node.op.index >= len(source.makes):
                    broken.append(("constants", f"{operands[0].name} makes no value {node.op.index}"))
        found += [Problem(node.name, f"[{rule}] {why}") for rule, why in broken]
        if not broken:
            sound[node.name] = node
    for title, name in graph.results:
        if name not in graph.by_name:
            found.append(Problem("results", f"[order] {shown(title)!r} is {shown(name)!r}, which does not exist"))
    if graph.results and graph.results[0][1] != graph.output:
        found.append(Problem("results", f"[order] the first of them is not the output {shown(graph.output)!r}"))
    return found


def _folds(node: Node) -> bool:
    return is_legal(node.op) and kind_of(node.op).folds


def _names(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = [_identifier_problem("Graph", graph.name)]
    seen: set[str] = set()
    for node in graph.nodes:
        found.append(_identifier_problem(node.name, node.name))
        if node.name in seen:
            found.append(Problem(node.name, "two Nodes have this name"))
        seen.add(node.name)
        if isinstance(node.op, Input):
            ports: set[str] = set()
            for feature in node.op.features:
                found.append(_identifier_problem(node.name, feature, "feature "))
                if feature in ports:
                    found.append(Problem(node.name, f"two features are named {shown(feature)!r}"))
                ports.add(feature)
    return [problem for problem in found if problem]


def _identifier_problem(where: str, name: str, what: str = "") -> Problem | None:
    if not isinstance(name, str) or not IDENTIFIER.match(name):
        return Problem(
            where, f"{what}{shown(name)!r} is no lower-case identifier", "make it match [a-z][a-z0-9_]{0,63}"
        )
    if name in VERILOG_WORDS:
        return Problem(where, f"{what}{name!r} is a reserved word of Verilog", "add a suffix")
    return None


def _order(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found, above = [], set()
    for node in graph.nodes:
        for name in node.inputs:
            if name not in above:
                why = "stands below it" if name in graph.by_name else "does not exist"
                found.append(Problem(node.name, f"it reads {shown(name)!r}, which {why}"))
        above.add(node.name)
    if graph.output not in above:
        found.append(Problem("output", f"{shown(graph.output)!r} does not exist"))
    return found


def _arity(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        wanted = arity(node.op)
        if len(node.inputs) != wanted:
            found.append(Problem(node.name, f"{node.kind} has {wanted} inputs, this one has {len(node.inputs)}"))
    return found


def _kinds(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        if not is_legal(node.op):
            found.append(Problem(node.name, f"{shown(type(node.op).__name__)} is no kind of Node"))
        elif kind_of(node.op).tensor:
            found.append(Problem(node.name, f"{node.kind} is for tensor Graphs only: they read feeds, not one row"))
        elif kind_of(node.op).numbers == "real" and not node.is_float:
            why = f"{node.kind} is for float Nodes only"
            found.append(Problem(node.name, why, "run fold-affine before quantisation"))
        elif kind_of(node.op).numbers == "codes" and node.is_float:
            found.append(Problem(node.name, f"{node.kind} makes codes, not {node.type.format}"))
    inputs = [node.name for node in graph.nodes if isinstance(node.op, Input)]
    if len(inputs) != 1:
        found.append(Problem("Graph", f"it has {len(inputs)} Inputs, not 1"))
    return found


def _own_checks(rule: str, node: Node, operands: Operands = ()) -> list[Problem]:
    """Return what the kind of *node* itself has to say to *rule*."""
    check = kind_of(node.op).checks.get(rule) if is_legal(node.op) else None
    if check is None:
        return []
    faults = check(node.op, operands, Operand(node.name, node.kind, node.type))
    return [Problem(node.name, fault) if isinstance(fault, str) else Problem(node.name, *fault) for fault in faults]


def _attributes(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    return [problem for node in graph.nodes for problem in _own_checks("attributes", node)]


def _shapes(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        if any(d < 1 for d in node.type.shape) or node.type.elements > MAXIMUM_ELEMENTS:
            why = f"shape {list(node.type.shape)}: dimensions are ≥ 1 and their product is at most {MAXIMUM_ELEMENTS}"
            found.append(Problem(node.name, why))
            continue
        operands = _operands(graph, node, broken)
        found += _own_checks("shapes", node, operands)
        if operands:
            shapes = [operand.type.shape for operand in operands]
            wanted = kind_of(node.op).shapes(node.op, shapes[0], node.type)
            if [*shapes, node.type.shape] != wanted:
                read, made = ", ".join(map(_spelled, shapes)), _spelled(node.type.shape)
                why = f"{node.kind} of {read} → {made}"
                wish = f"it should be {', '.join(map(_spelled, wanted[:-1]))} → {_spelled(wanted[-1])}"
                found.append(Problem(node.name, why, wish))
    return found


def _spelled(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _operands(graph: Graph, node: Node, broken: frozenset[str], constants: bool = False) -> Operands:
    """Return what *node* reads; nothing where something is wrong with it, or with what it reads. *constants*: data too."""
    if node.name in broken or any(name in broken or name not in graph.by_name for name in node.inputs):
        return ()
    return tuple(map(graph.operand if constants else graph.outline, node.inputs))


def _formats(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        operands = _operands(graph, node, broken)
        if operands:
            faults = _common_format_faults(node, operands)
            found += [Problem(node.name, why) for why in faults or ()]
            found += _own_checks("formats", node, operands) if faults is None else []
    return found


def _common_format_faults(node: Node, operands: Operands) -> list[str] | None:
    """Return what is wrong with formats whatever the kind is; None where the kind has the last word."""
    kind, own, read = kind_of(node.op), node.type.format, [operand.type.format for operand in operands]
    if kind.makes_eight_bit or kind.reads_eight_bit:
        return None
    if isinstance(own, EightBit):
        return [f"only encode and constant make codes of {own}, not {node.kind}"]
    if any(isinstance(fmt, EightBit) for fmt in read):
        return ["only decode reads 8-bit codes"]
    if kind.classes is not None or kind.reads_reals:
        return None
    if not isinstance(own, Fixed):
        alien = Rational if isinstance(own, Float) else Float
        return [f"a {own} Node cannot read {fmt}" for fmt in read if isinstance(fmt, alien)]
    fixed = [fmt for fmt in read if isinstance(fmt, Fixed)]
    if len(fixed) < len(read):
        return [f"an integer Node cannot read {fmt}" for fmt in read if not isinstance(fmt, Fixed)]
    if kind.keeps_scale and (own.scale, own.zero) != (fixed[0].scale, fixed[0].zero):
        return [f"{node.kind} keeps scale and zero point, but {fixed[0]} became {own}"]
    return None


def _constants(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        found += _own_checks("constants", node)
        rows = kind_of(node.op).rows if is_legal(node.op) else 0
        for operand in _operands(graph, node, broken)[rows:]:
            if not graph.is_constant(operand.name):
                found.append(Problem(node.name, f"{operand.name} is {operand.kind}, it has to be a constant"))
    return found


def _encoding(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    return [problem for node in graph.nodes for problem in _own_checks("encoding", node)]


def _arithmetic(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        operands = _operands(graph, node, broken, constants=True)
        if operands:
            found += _own_checks("arithmetic", node, operands)
    return found


def _ranges(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found: list[Problem] = []
    known: dict[str, Range] = {}
    unsound = set(broken)  # nobody can tell their range, nor that of what reads them
    if len(graph.by_name) != len(graph.nodes):
        return found  # two Nodes of one name: nobody can tell whose range it would be
    for node in graph.nodes:
        if node.name in unsound or not unsound.isdisjoint(node.inputs):
            unsound.add(node.name)
            continue
        if not has_range(node, known):
            continue
        found += _own_checks("ranges", node, tuple(graph.operand(name, known) for name in node.inputs))
        low, high = known[node.name] = range_of(graph, node, known)
        fmt = node.type.format
        lowest, highest = int(min(low.tolist())), int(max(high.tolist()))
        if isinstance(fmt, Fixed) and (lowest < fmt.low or highest > fmt.high):
            why = f"its range {lowest}…{highest} does not fit {fmt} ({fmt.low}…{fmt.high})"
            wanted = _narrowest(lowest, highest, fmt)
            found.append(Problem(node.name, why, f"{wanted} would hold it" if wanted else "no format is wide enough"))
    return found


def _narrowest(low: int, high: int, fmt: Fixed) -> Fixed | None:
    if max(abs(low), abs(high)) >> (MAXIMUM_BITS - 1):
        return None
    return fixed_for(low, high, fmt.scale, fmt.zero)


RULES: dict[str, _Rule] = {
    "names": _names,
    "order": _order,
    "arity": _arity,
    "kinds": _kinds,
    "attributes": _attributes,
    "shapes": _shapes,
    "constants": _constants,
    "formats": _formats,
    "encoding": _encoding,
    "arithmetic": _arithmetic,
    "ranges": _ranges,
}
"""Rule → function of a Graph and the names of Nodes that an earlier structural rule found broken."""

_STRUCTURAL = frozenset({"order", "arity", "kinds", "attributes", "shapes", "constants", "formats"})
"""A Node that breaks one of these is left out by the later rules, which could not make sense of it."""
