"""Kinds of Nodes, one file a family: each op with all its rules. This is the package's one face."""

from approxhw.ir.kinds.tensor.integers import ConvInteger, DequantizeLinear, MatMulInteger, QuantizeLinear, Rescale
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose
from approxhw.ir.kinds.tensor.spelling import SPELLED, tensor_attributes

from .coding import KINDS as _CODING
from .coding import Decode, Encode
from .decide import KINDS as _DECIDE
from .decide import ArgMax, Binarize, Threshold, approximate_argmax, matches
from .dense import KINDS as _DENSE
from .dense import Affine, Dense, dense_sums, product_ranges
from .elementwise import KINDS as _ELEMENTWISE
from .elementwise import Clip, HardSwish, LeakyRelu, PRelu, Relu, ThresholdedRelu
from .forest import KINDS as _FOREST
from .forest import Forest, code_sums, forest_depth, leaves_reached
from .gates import KINDS as _GATES
from .gates import Gates, random_gates
from .kind import Check, Fault, Kind, Operand, Operands, Range, SomeKind, Type
from .layout import KINDS as _LAYOUT
from .layout import Concat, Reshape
from .requantize import KINDS as _REQUANTIZE
from .requantize import MOST_LOOKUP_BITS, Lookup, Requantize
from .source import KINDS as _SOURCE
from .source import Constant, Input

__all__ = [
    "KINDS",
    "MOST_LOOKUP_BITS",
    "TENSOR_KINDS",
    "Add",
    "Affine",
    "ArgMax",
    "Binarize",
    "Check",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Decode",
    "Dense",
    "DequantizeLinear",
    "Encode",
    "Fault",
    "Feed",
    "Forest",
    "Gates",
    "Gemm",
    "HardSwish",
    "Host",
    "Input",
    "Kind",
    "LeakyRelu",
    "Lookup",
    "MatMul",
    "MatMulInteger",
    "Operand",
    "Operands",
    "PRelu",
    "Part",
    "QuantizeLinear",
    "Range",
    "Relu",
    "Requantize",
    "Rescale",
    "Reshape",
    "SomeKind",
    "Threshold",
    "ThresholdedRelu",
    "Transpose",
    "Type",
    "approximate_argmax",
    "code_sums",
    "dense_sums",
    "forest_depth",
    "leaves_reached",
    "matches",
    "product_ranges",
    "random_gates",
]

KINDS: tuple[SomeKind, ...] = (
    *_SOURCE,
    *_DENSE,
    *_ELEMENTWISE,
    *_REQUANTIZE,
    *_DECIDE,
    *_LAYOUT,
    *_CODING,
    *_FOREST,
    *_GATES,
)
"""Every kind of a network of layers; ``approxhw.ir.graph`` registers them."""

TENSOR_KINDS: tuple[SomeKind, ...] = tuple(
    Kind(
        op=spelled.op,
        tensor=True,
        most_inputs=spelled.most,
        attributes=tensor_attributes,
        readers=spelled.readers,
        optional=spelled.optional,
    )
    for spelled in SPELLED
)
"""Every kind that stands in Graphs of whole tensors alone."""
