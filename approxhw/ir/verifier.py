"""The verifier: every rule that a Graph must keep (``docs/ir.md``), all broken ones reported at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.common.errors import GraphError, Problem, shown
from approxhw.numerics.formats import MAXIMUM_BITS, EightBit, Encoding, Fixed, Float, Rational, fixed_for
from approxhw.numerics.formats import RULES as ENCODING_RULES
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, Exact, MaskedPowerOfTwo

from .graph import (
    IDENTIFIER,
    KINDS,
    VERILOG_WORDS,
    Affine,
    ArgMax,
    Clip,
    Constant,
    Decode,
    Dense,
    Encode,
    Graph,
    Input,
    Node,
    Range,
    Relu,
    Requantize,
    Reshape,
    Threshold,
    arity,
    range_of,
)
from .kinds.tensor_rules import data_problems, kind_problems, value_problems
from .kinds.tensors import TENSOR_KINDS, Feed, Host, Part

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
            broken.update(node.name for node in graph.nodes if isinstance(node.op, Decode) and broken & {*node.inputs})
        found += [replace(problem, why=f"[{name}] {problem.why}") for problem in new]
    return found


def _tensor_problems(graph: Graph) -> list[Problem]:
    """Return every broken rule of a tensor Graph: names, order, then each Node whose operands are sound."""
    found = [replace(problem, why=f"[names] {problem.why}") for problem in _names(graph, frozenset())]
    found += [replace(problem, why=f"[order] {problem.why}") for problem in _order(graph, frozenset())]
    titles: set[str] = set()
    legal = (*TENSOR_KINDS.values(), Constant, Relu)
    sound: dict[str, Node] = {}
    for node in graph.nodes:
        broken = kind_problems(node.op, len(node.inputs) if not isinstance(node.op, Constant) else 1)
        if not isinstance(node.op, legal):
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
    found, legal = [], set(KINDS.values())
    for node in graph.nodes:
        if isinstance(node.op, tuple(TENSOR_KINDS.values())):
            found.append(Problem(node.name, f"{node.kind} is for tensor Graphs only: they read feeds, not one row"))
        elif type(node.op) not in legal:
            found.append(Problem(node.name, f"{shown(type(node.op).__name__)} is no kind of Node"))
        elif isinstance(node.op, Affine) and not node.is_float:
            found.append(Problem(node.name, "affine is for float Nodes only", "run fold-affine before quantisation"))
        elif isinstance(node.op, Requantize | ArgMax | Threshold) and node.is_float:
            found.append(Problem(node.name, f"{node.kind} makes codes, not {node.type.format}"))
    inputs = [node.name for node in graph.nodes if isinstance(node.op, Input)]
    if len(inputs) != 1:
        found.append(Problem("Graph", f"it has {len(inputs)} Inputs, not 1"))
    return found


def _attributes(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        for why in _attribute_problems(node):
            found.append(Problem(node.name, why))
    return found


def _attribute_problems(node: Node) -> list[str]:
    op, why = node.op, []
    number = _is_code if isinstance(node.type.format, Fixed) else _is_real
    if isinstance(op, Clip):
        why = [
            f"bound {shown(b)} is no {_number_name(node)}" for b in (op.low, op.high) if not (b is None or number(b))
        ]
        if not why and op.low is not None and op.high is not None and op.low > op.high:
            why.append(f"low {op.low} is greater than high {op.high}")
    elif isinstance(op, Threshold):
        if not _is_real(op.threshold):
            why.append(f"threshold {shown(op.threshold)} is no finite number")
    elif isinstance(op, ArgMax):
        why = _comparator_problems(op)
    elif isinstance(op, Requantize):
        several = [*op.multiplier, *op.offset, op.low, op.high]
        if not all(map(_is_code, several)):
            why.append(f"multiplier, offset, low and high are integers of at most {MAXIMUM_BITS} bits")
        elif op.low > op.high:
            why.append(f"low {op.low} is greater than high {op.high}")
        if not (_is_code(op.shift) and 0 <= op.shift <= MAXIMUM_BITS):
            why.append(f"shift {shown(op.shift)} does not lie in 0…{MAXIMUM_BITS}")
        for title, values in (("multiplier", op.multiplier), ("offset", op.offset)):
            if len(values) not in (1, node.type.elements):
                why.append(f"{title} has {len(values)} values for {node.type.elements} elements")
    return why


def _comparator_problems(op: ArgMax) -> list[str]:
    if op.width is None:
        return ["comparators that look at chosen bits need a width"] if op.bits else []
    if not _is_code(op.width) or not 1 <= op.width <= MAXIMUM_BITS:
        return [f"width {shown(op.width)} does not lie in 1…{MAXIMUM_BITS}"]
    return [
        f"comparator {number} looks at {shown(list(positions))}: give ascending positions in 0…{op.width - 1}"
        for number, positions in enumerate(op.bits)
        if not all(_is_code(p) and 0 <= p < op.width for p in positions) or sorted(set(positions)) != list(positions)
    ]


def _number_name(node: Node) -> str:
    return "code (an integer)" if isinstance(node.type.format, Fixed) else "finite number"


def _is_code(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) >> MAXIMUM_BITS == 0


def _is_real(value: object) -> bool:
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    return isinstance(value, Fraction) or _is_code(value)


def _shapes(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        if any(d < 1 for d in node.type.shape) or node.type.elements > MAXIMUM_ELEMENTS:
            why = f"shape {list(node.type.shape)}: dimensions are ≥ 1 and their product is at most {MAXIMUM_ELEMENTS}"
            found.append(Problem(node.name, why))
            continue
        if isinstance(node.op, Input):
            for title, texts in (("features", node.op.features), ("titles", node.op.titles)):
                if len(texts) != node.type.elements:
                    found.append(Problem(node.name, f"{len(texts)} {title} for {node.type.elements} elements"))
        operands = _operands(graph, node, broken)
        if operands:
            shapes = [operand.type.shape for operand in operands]
            wanted = _wanted_shapes(node, shapes[0])
            if [*shapes, node.type.shape] != wanted:
                read, made = ", ".join(map(_spelled, shapes)), _spelled(node.type.shape)
                why = f"{node.kind} of {read} → {made}"
                wish = f"it should be {', '.join(map(_spelled, wanted[:-1]))} → {_spelled(wanted[-1])}"
                found.append(Problem(node.name, why, wish))
    return found


def _spelled(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _wanted_shapes(node: Node, first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of operands and result that *node* should have, from its first operand and its own shape."""
    op, own = node.op, node.type.shape
    if isinstance(op, Dense):
        n, m = math.prod(first), math.prod(own)
        if isinstance(op.arithmetic, ApproximateMultiplier):
            bits = op.arithmetic
            return [(n,), (m, n), (m,), (1 << bits.weight_bits, 1 << bits.x_bits), (m,)]
        masks = [(m, n)] if isinstance(op.arithmetic, MaskedPowerOfTwo) else []
        return [(n,), (m, n), (m,), *masks, (m,)]
    if isinstance(op, Affine):
        return [own, own, own, own]
    if isinstance(op, ArgMax):
        return [(math.prod(first),), ()]
    if isinstance(op, Threshold):
        return [(1,), ()]
    if isinstance(op, Reshape):
        return [first, own if node.type.elements == math.prod(first) else (math.prod(first),)]
    return [first, first]


def _operands(graph: Graph, node: Node, broken: frozenset[str]) -> list[Node]:
    """Return the Nodes that *node* reads; none where something is wrong with it, or with what it reads."""
    if node.name in broken or any(name in broken or name not in graph.by_name for name in node.inputs):
        return []
    return [graph[name] for name in node.inputs]


def _formats(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        operands = _operands(graph, node, broken)
        if operands:
            found += [Problem(node.name, why) for why in _format_problems(node, operands)]
    return found


def _format_problems(node: Node, operands: list[Node]) -> list[str]:
    op, own, read = node.op, node.type.format, [operand.type.format for operand in operands]
    if isinstance(op, Encode | Decode):
        return _coding_problems(op, node, operands[0])
    if isinstance(own, EightBit):
        return [f"only encode and constant make codes of {own}, not {node.kind}"]
    if any(isinstance(fmt, EightBit) for fmt in read):
        return ["only decode reads 8-bit codes"]
    if isinstance(op, ArgMax | Threshold):  # the only kinds that turn real values into codes
        classes = operands[0].type.elements if isinstance(op, ArgMax) else 2
        wanted = Fixed(max(1, (classes - 1).bit_length()))
        why = [] if own == wanted else [f"its format is {own}, {node.kind} of this makes {wanted}"]
        if isinstance(op, ArgMax) and op.width is not None:
            if not isinstance(read[0], Fixed):
                why.append(f"comparators look at bits of codes, not of {read[0]}")
            if len(op.bits) != classes - 1:
                why.append(f"{classes} values need {classes - 1} comparators, it has {len(op.bits)}")
        if isinstance(op, Threshold) and isinstance(read[0], Fixed) and not _is_code(op.threshold):
            why.append(f"threshold {shown(op.threshold)} is no code (an integer)")
        return why
    if not isinstance(own, Fixed):
        alien = Rational if isinstance(own, Float) else Float
        return [f"a {own} Node cannot read {fmt}" for fmt in read if isinstance(fmt, alien)]
    if not all(isinstance(fmt, Fixed) for fmt in read):
        return [f"an integer Node cannot read {fmt}" for fmt in read if not isinstance(fmt, Fixed)]
    fixed = [fmt for fmt in read if isinstance(fmt, Fixed)]
    why = []
    if isinstance(op, Dense):
        scale = fixed[0].scale * fixed[1].scale
        for title, fmt in (("result", own), ("bias", fixed[2])):
            if fmt.scale != scale:
                why.append(f"the scale of its {title} is {fmt.scale}, that of x · w is {scale}")
        for title, fmt in (("weight", fixed[1]), ("bias", fixed[2]), ("result", own)):
            if fmt.zero:
                why.append(f"its {title} has zero point {fmt.zero}, only 0 is allowed there")
    elif isinstance(op, Relu | Clip | Reshape) and (own.scale, own.zero) != (fixed[0].scale, fixed[0].zero):
        why.append(f"{node.kind} keeps scale and zero point, but {fixed[0]} became {own}")
    return why


def _coding_problems(op: Encode | Decode, node: Node, operand: Node) -> list[str]:
    code, other = (node, operand) if isinstance(op, Encode) else (operand, node)
    fmt = code.type.format
    if not isinstance(fmt, EightBit) or not isinstance(other.type.format, Fixed | Float):
        side = "makes 8-bit codes of" if isinstance(op, Encode) else "reads 8-bit codes and makes"
        return [f"{node.kind} {side} fixed or floating point, not {operand.type.format} → {node.type.format}"]
    why = []
    if isinstance(op, Decode) and not isinstance(operand.op, Constant | Encode):
        why.append(f"{operand.name} is {operand.kind}, codes come from encode or constant")
    count = fmt.blocks(node.type.elements)
    if len(op.maxima) != count:
        why.append(f"{node.type.elements} values of {fmt} have {count} maxima, it has {len(op.maxima)}")
    least = "greater than 0" if isinstance(op, Encode) else "at least 0"
    single = [value for value in op.maxima if not _is_real(value) or not _is_single(float(value))]
    if single or any(value < 0 or (value == 0 and isinstance(op, Encode)) for value in op.maxima):
        why.append(f"maxima are finite numbers of float32, {least}")
    elif fmt.maximum == "fixed" and any(value != 1 for value in op.maxima):
        why.append("its format keeps no maxima: they are 1")
    elif fmt.maximum == "pow2" and any(value and math.frexp(value)[0] != 0.5 for value in op.maxima):
        why.append("its format has powers of two as maxima")
    return why


def _is_single(value: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) == value


def _constants(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            found += [Problem(node.name, why) for why in _data_problems(node, node.op.data)]
        elif isinstance(node.op, Dense | Affine):
            for operand in _operands(graph, node, broken)[1:]:
                if not graph.is_constant(operand.name):
                    found.append(Problem(node.name, f"{operand.name} is {operand.kind}, it has to be a constant"))
    return found


def _data_problems(node: Node, data: np.ndarray) -> list[str]:
    fmt = node.type.format
    if data.shape != node.type.shape:
        return [f"its data has shape {_spelled(data.shape)}, its type {_spelled(node.type.shape)}"]
    if isinstance(fmt, Float):
        if data.dtype != np.float64:
            return [f"{fmt} data is held as float64, not {data.dtype}"]
        return [] if np.isfinite(data).all() else ["its data holds NaN or infinity"]
    if isinstance(fmt, EightBit):
        ok = data.dtype.kind == "i" and not ((data < 0) | (data > 255)).any()
        return [] if ok else [f"codes of {fmt} are integers in 0…255"]
    if isinstance(fmt, Rational):
        ok = all(isinstance(value, Fraction | int) for value in data.reshape(-1).tolist())
        return [] if ok else ["rational data is held as fractions"]
    if not isinstance(fmt, Fixed):
        return [f"nothing is computed with {fmt} of one row"]
    if data.dtype.kind != "i" and not all(isinstance(value, int) for value in data.reshape(-1).tolist()):
        return [f"{fmt} data is held as integers, not {data.dtype}"]
    low, high = int(data.min()), int(data.max())
    if low < fmt.low or high > fmt.high:
        return [f"codes of {fmt} lie in {fmt.low}…{fmt.high}, its data in {low}…{high}"]
    return []


def _encoding(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Input):
            found += [Problem(node.name, why) for why in _encoding_problems(node, node.op.encoding)]
    return found


def _encoding_problems(node: Node, encoding: Encoding | None) -> list[str]:
    fmt = node.type.format
    if not isinstance(fmt, Fixed):
        return ["a float Input has no encoding"] if encoding else []
    if encoding is None:
        return ["a Fixed Input needs an encoding: how a reading becomes a code"]
    if not len(encoding.low) == len(encoding.high) == node.type.elements:
        sizes = f"{len(encoding.low)} low and {len(encoding.high)} high"
        return [f"its encoding has {sizes} values for {node.type.elements} elements"]
    why = []
    if fmt.signed or fmt.bits != encoding.bits:
        why.append(f"its encoding makes u{encoding.bits} codes, its format is {fmt}")
    if encoding.rule not in ENCODING_RULES:
        why.append(f"there is no encoding rule {shown(encoding.rule)!r}; there are {', '.join(ENCODING_RULES)}")
    ends = list(zip(encoding.low, encoding.high))
    if not all(math.isfinite(low) and math.isfinite(high) for low, high in ends):
        why.append("low and high are finite")
    elif any(low > high for low, high in ends):
        why.append("low is greater than high")
    elif encoding.rule == "linear" and any(low == high for low, high in ends):
        why.append("rule linear needs low < high")
    elif encoding.rule == "floor16" and (encoding.bits != 4 or any(end != (0, 1) for end in ends)):
        why.append("rule floor16 is 4 bits from 0 to 1")
    return why


def _arithmetic(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found = []
    for node in graph.nodes:
        op, operands = node.op, _operands(graph, node, broken)
        if not isinstance(op, Dense) or not operands:
            continue
        if node.is_float:
            if op.arithmetic is not None:
                found.append(Problem(node.name, f"a float dense has no arithmetic, this one has {op.arithmetic}"))
            continue
        if op.arithmetic is None:
            found.append(Problem(node.name, "an integer dense needs an arithmetic", 'say "exact<8>", for one'))
            continue
        weights = graph.constant(node.inputs[1])
        if isinstance(op.arithmetic, MaskedPowerOfTwo):
            found += [Problem(node.name, why) for why in _masked_problems(op.arithmetic, weights, operands)]
            continue
        x = operands[0].type.format
        if isinstance(op.arithmetic, ApproximateMultiplier) and isinstance(x, Fixed) and x.bits > op.arithmetic.x_bits:
            found.append(Problem(node.name, f"{op.arithmetic} reads {op.arithmetic.x_bits}-bit codes, x is {x}"))
        low, high = int(weights.min()), int(weights.max())
        if not op.arithmetic.holds(low, high):
            bits = fixed_for(min(low, -1), high).bits
            remedy = f"{Exact(bits) if isinstance(op.arithmetic, Exact) else f'{bits} bits'} would hold them"
            found.append(Problem(node.name, f"weights {low}…{high} do not fit {op.arithmetic}", remedy))
    return found


def _masked_problems(arithmetic: MaskedPowerOfTwo, weights: np.ndarray, operands: list[Node]) -> list[str]:
    why = []
    bad = [w for w in weights.reshape(-1).tolist() if not arithmetic.holds_weight(w)]
    if bad:
        why.append(f"weights of {arithmetic} are 0 or ±2^k, k ≤ {arithmetic.exponent}; it has {shown(bad[:5])}")
    for title, node in (("x", operands[0]), ("its masks", operands[3])):
        if isinstance(node.type.format, Fixed) and node.type.format.signed:
            why.append(f"{title} is {node.type.format}: {arithmetic} masks unsigned codes")
    return why


def _ranges(graph: Graph, broken: frozenset[str]) -> list[Problem]:
    found: list[Problem] = []
    known: dict[str, Range] = {}
    if len(graph.by_name) != len(graph.nodes):
        return found  # two Nodes of one name: nobody can tell whose range it would be
    for node in graph.nodes:
        fmt = node.type.format
        sound = node.name not in broken and all(name not in broken for name in node.inputs)
        decides = isinstance(node.op, ArgMax | Threshold)  # their range is known even where they read real values
        read = node.inputs
        if isinstance(node.op, Decode) and sound:
            read = () if graph.is_constant(node.name) else graph[read[0]].inputs
            read = tuple(name for name in read if isinstance(graph[name].type.format, Fixed))
        if not isinstance(fmt, Fixed) or not sound or not (decides or all(name in known for name in read)):
            continue
        if isinstance(node.op, ArgMax) and node.op.width is not None and node.inputs[0] in known:
            low, high = known[node.inputs[0]]
            needed = fixed_for(min(-1, *low.tolist()), max(high.tolist())).bits
            if needed > node.op.width:
                found.append(Problem(node.name, f"values of {needed} bits do not fit comparators of {node.op.width}"))
        low, high = known[node.name] = range_of(graph, node, known)
        lowest, highest = int(min(low.tolist())), int(max(high.tolist()))
        if lowest < fmt.low or highest > fmt.high:
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
