"""Node kinds of tensor Graphs: inputs by name, matrix products with their arithmetic, and what stays on the host.

``docs/ir.md`` (*Tensor Graphs*) says what each of them means. A tensor Graph is a function of whole arrays: the batch axis
is an axis like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.eight_bit.port_codes import EngineCodes
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import Result


@dataclass(frozen=True)
class Feed:
    """An input array called ``title``; ``dims``: its sizes, a name where the model leaves one open, None: of any rank."""

    title: str
    dims: tuple[int | str, ...] | None = None


@dataclass(frozen=True)
class MatMul:
    """a · b over the last two axes, the others broadcast, as ONNX has it."""

    title: str
    arithmetic: FloatMac | None = None
    """How an engine multiplies; None: the host does, in floating point."""
    result: Result = "float32"
    """What the end of a column rounds to: float32 or bf16."""
    codes: EngineCodes | None = None
    """Which operands reach the engine as 8-bit codes."""


@dataclass(frozen=True)
class Gemm:
    """alpha · A · B + beta · C of matrices, A and B turned where asked for; C broadcast, or not there."""

    title: str
    alpha: float = 1.0
    beta: float = 1.0
    transpose_a: bool = False
    transpose_b: bool = False
    arithmetic: FloatMac | None = None
    result: Result = "float32"
    codes: EngineCodes | None = None


@dataclass(frozen=True)
class Conv:
    """Filters (the second operand) over images (the first), plus a bias where there is a third, as ONNX has it."""

    title: str
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    auto_pad: str = "NOTSET"
    group: int = 1
    kernel: tuple[int, ...] = ()
    """Sizes of the filters, where the model says them beside the filters themselves."""
    arithmetic: FloatMac | None = None
    result: Result = "float32"
    codes: EngineCodes | None = None


@dataclass(frozen=True)
class ConvTranspose:
    """Images (the first operand) spread by filters (the second), plus a bias where there is a third, as ONNX has it."""

    title: str
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    auto_pad: str = "NOTSET"
    group: int = 1
    kernel: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    """Sizes of the result, where the model says them: pads are then what is left."""
    arithmetic: FloatMac | None = None
    result: Result = "float32"
    codes: EngineCodes | None = None


@dataclass(frozen=True)
class Add:
    """a + b, broadcast, rounded once to the format."""


@dataclass(frozen=True)
class Transpose:
    """The axes in the order of ``axes``."""

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Host:
    """ONNX nodes that stay in the host's runtime: ``program``, a serialized ModelProto, whose inputs come in order.

    A Host makes one value for each entry of ``makes`` (the ONNX names, as text for people); who reads the Node reads the
    first, a :class:`Part` reads another. ``operators``: what is inside, for people.
    """

    program: bytes = field(repr=False)
    makes: tuple[str, ...] = ("y",)
    operators: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Equal programs are equal."""
        return isinstance(other, Host) and (self.program, self.makes) == (other.program, other.makes)

    def __hash__(self) -> int:
        """Hash the program."""
        return hash((self.program, self.makes))


@dataclass(frozen=True)
class Part:
    """Value number ``index`` of a :class:`Host`."""

    index: int


Product = MatMul | Gemm | Conv | ConvTranspose
"""What an engine can carry out."""

TENSOR_ARITY: dict[type, tuple[int, int]] = {
    Feed: (0, 0),
    MatMul: (2, 2),
    Gemm: (2, 3),
    Conv: (2, 3),
    ConvTranspose: (2, 3),
    Add: (2, 2),
    Transpose: (1, 1),
    Host: (0, 4096),
    Part: (1, 1),
}
"""Least and greatest number of inputs."""


def is_product(op: object) -> bool:
    """Whether *op* multiplies matrices."""
    return isinstance(op, MatMul | Gemm | Conv | ConvTranspose)


Dims = tuple[int | str, ...] | None
"""Sizes of an input: a number, or the name of an open one; None where even the rank is open."""


def spell_dims(title: str, dims: Dims) -> str:
    """Return name and sizes of an input, open ones by name."""
    if dims is None:
        return f"{shown(title)}: of any rank"
    return f"{shown(title)}: {' × '.join(shown(dim) for dim in dims) or 'a scalar'}"


def misfit(dims: Dims, sizes: Sequence[int]) -> str:
    """Return why *sizes* do not fit an input of *dims*; empty where they do."""
    said = " × ".join(shown(size) for size in sizes) or "a scalar"
    if any(isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1 for size in sizes):
        return f"{said}: sizes are whole numbers of at least 1"
    if dims is None:
        return ""
    if len(sizes) != len(dims):
        return f"{said} has {len(sizes)} dimensions, not {len(dims)}"
    pairs = zip(sizes, dims, strict=True)
    wrong = [f"{size} where the model has {dim}" for size, dim in pairs if isinstance(dim, int) and dim != size]
    return f"{said}: {', '.join(wrong)}" if wrong else ""
