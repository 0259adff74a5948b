"""Kinds of tensor Graphs as text: their attributes as JSON, and read from it; large arrays stand beside the text."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np

from approxhw.common.errors import OptionError, shown
from approxhw.numerics.eight_bit.port_codes import EngineCodes, read_codes
from approxhw.numerics.mac.arithmetic import FloatMac, parse_float_mac

from .tensors import Conv, Feed, Gemm, Host, MatMul, Part, Transpose

MOST_INLINE = 4096
"""Elements of a constant, or bytes of a program, that stand in the text itself."""

Beside = MutableMapping[str, np.ndarray]
"""Arrays beside a text, by their digest."""

Fetch = Callable[[str], np.ndarray]
"""Gives the array of a digest; raises ``ValueError`` where there is none."""


def digest_of(array: np.ndarray) -> str:
    """Return 32 hexadecimal digits that stand for type, shape and content of *array*."""
    plain = np.ascontiguousarray(array)
    head = f"{plain.dtype.str} {plain.shape}".encode()
    return hashlib.sha256(head + plain.tobytes()).hexdigest()[:32]


def put(array: np.ndarray, beside: Beside) -> dict[str, str]:
    """Put *array* beside the text and return what stands in its place."""
    digest = digest_of(array)
    beside[digest] = array
    return {"beside": digest}


def tensor_attributes(op: object, beside: Beside | None) -> dict[str, Any]:
    """Return the attributes of *op*; what is large goes *beside*, where that is given."""
    if isinstance(op, Feed):
        return {"title": op.title, "dims": None if op.dims is None else list(op.dims)}
    if isinstance(op, Host):
        program: Any = base64.b64encode(op.program).decode("ascii")
        if beside is not None and len(op.program) > MOST_INLINE:
            program = put(np.frombuffer(op.program, dtype=np.uint8), beside)
        return {"operators": list(op.operators), "makes": list(op.makes), "program": program}
    if isinstance(op, Part):
        return {"index": op.index}
    if isinstance(op, Transpose):
        return {"axes": list(op.axes)}
    if isinstance(op, MatMul | Gemm | Conv):
        return {"title": op.title, **_shape_attributes(op), **_how(op)}
    return {}


def _shape_attributes(op: MatMul | Gemm | Conv) -> dict[str, Any]:
    if isinstance(op, Gemm):
        turned = {"transpose_a": op.transpose_a, "transpose_b": op.transpose_b}
        return {"alpha": op.alpha, "beta": op.beta, **turned}
    if isinstance(op, Conv):
        sizes = {"strides": op.strides, "dilations": op.dilations, "pads": op.pads, "kernel": op.kernel}
        told: dict[str, Any] = {name: list(size) for name, size in sizes.items() if size}
        return {**told, "auto_pad": op.auto_pad, "group": op.group}
    return {}


def _how(op: MatMul | Gemm | Conv) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if op.arithmetic is not None:
        told["arithmetic"] = str(op.arithmetic)
    if op.result != "float32":
        told["result"] = op.result
    if op.codes is not None:
        told["codes"] = spell_codes(op.codes)
    return told


def spell_codes(codes: EngineCodes) -> str:
    """Return the text that ``read_codes`` reads as *codes*, such as ``dynamic8,block=256,activations=true``."""
    block = "" if codes.block is None else f",block={codes.block}"
    return f"{codes.code}{block},weights={str(codes.weights).lower()},activations={str(codes.activations).lower()}"


def fetched(value: Any, fetch: Fetch | None) -> np.ndarray:
    """Return the array that ``{"beside": …}`` stands for; raise ``ValueError`` where it is not there, or another one."""
    digest = value.get("beside") if isinstance(value, dict) and set(value) == {"beside"} else None
    if not isinstance(digest, str) or len(digest) != 32 or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"no name of an array beside the text: {shown(value)}")
    if fetch is None:
        raise ValueError(f"array {digest} stands beside the text, and nobody says where")
    array = fetch(digest)
    if digest_of(array) != digest:
        raise ValueError(f"array {digest} was changed since the text was written")
    return array


def read_tensor_attribute(kind: str, name: str, value: Any, fetch: Fetch | None) -> Any:
    """Return attribute *name* of *kind* from its JSON *value*; raise ``ValueError`` where it is none."""
    return _READERS[kind][name](value, fetch)


def _text(value: Any, fetch: Fetch | None = None) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, not {shown(value)!r}")
    return value


def _integer(value: Any, fetch: Fetch | None = None) -> int:
    if type(value) is not int:
        raise ValueError(f"an integer is needed, not {shown(value)!r}")
    return value


def _number(value: Any, fetch: Fetch | None = None) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"a number is needed, not {shown(value)!r}")
    return float(value)


def _truth(value: Any, fetch: Fetch | None = None) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is needed, not {shown(value)!r}")
    return value


def _integers(value: Any, fetch: Fetch | None = None) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of integers is needed, not {shown(value)!r}")
    return tuple(map(_integer, value))


def _texts(value: Any, fetch: Fetch | None = None) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of texts is needed, not {shown(value)!r}")
    return tuple(map(_text, value))


def _dims(value: Any, fetch: Fetch | None = None) -> tuple[int | str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(dim) in (int, str) for dim in value):
        raise ValueError("dims is a list of sizes and names")
    return tuple(value)


def _program(value: Any, fetch: Fetch | None) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise ValueError("program is no base64") from error
    return fetched(value, fetch).astype(np.uint8, copy=False).tobytes()


def _mac(value: Any, fetch: Fetch | None = None) -> FloatMac:
    return parse_float_mac(_text(value))


def _codes(value: Any, fetch: Fetch | None = None) -> EngineCodes | None:
    try:
        return read_codes(_text(value))
    except OptionError as error:
        raise ValueError(str(error.problems[0].why)) from None


_HOW: dict[str, Callable[[Any, Fetch | None], Any]] = {
    "title": _text, "arithmetic": _mac, "result": _text, "codes": _codes,
}  # fmt: skip

_READERS: dict[str, dict[str, Callable[[Any, Fetch | None], Any]]] = {
    "feed": {"title": _text, "dims": _dims},
    "host": {"operators": _texts, "makes": _texts, "program": _program},
    "part": {"index": _integer},
    "transpose": {"axes": _integers},
    "add": {},
    "matmul": _HOW,
    "gemm": {**_HOW, "alpha": _number, "beta": _number, "transpose_a": _truth, "transpose_b": _truth},
    "conv": {
        **_HOW, "strides": _integers, "dilations": _integers, "pads": _integers, "kernel": _integers,
        "auto_pad": _text, "group": _integer,
    },
}  # fmt: skip

TENSOR_ATTRIBUTES: dict[str, frozenset[str]] = {kind: frozenset(readers) for kind, readers in _READERS.items()}
"""Kind → its attributes."""

TENSOR_OPTIONAL: dict[str, frozenset[str]] = {
    "feed": frozenset({"dims"}),
    "matmul": frozenset({"arithmetic", "result", "codes"}),
    "gemm": frozenset({"arithmetic", "result", "codes"}),
    "conv": frozenset({"arithmetic", "result", "codes", "strides", "dilations", "pads", "kernel"}),
}
"""Kind → attributes that may be left out."""
