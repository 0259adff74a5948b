"""The first quantiser of a model → how readings become codes, rounded as the model rounds them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from approxhw.ir.graph import Node
from approxhw.ir.kinds import Input, Type
from approxhw.numerics.formats import Encoding, Fixed

from .quantiser import Quantiser
from .state import ChainState, Lowering


def encoded(lowering: Lowering, state: ChainState, quantiser: Quantiser) -> tuple[ChainState, int]:
    """Append the Input: readings become unsigned codes. Return its state, and what was taken from the model's codes."""
    count, origin = len(state.scale), quantiser.low
    bits = (quantiser.high - origin).bit_length()
    gain = tuple(scale / quantiser.scale for scale in state.scale)
    shift = tuple(shift / quantiser.scale + quantiser.before for shift in state.shift)
    base, top = quantiser.base - origin, (1 << bits) - 1
    fmt = Fixed(bits, False, abs(quantiser.step), 0 if quantiser.bipolar else quantiser.zero - origin)
    encoding = _linear(state, quantiser, gain, shift, bits)
    if encoding is None:
        encoding = Encoding.exact(bits, gain, shift, quantiser.mode, base)
    source = lowering.graph.input
    assert isinstance(source.op, Input)
    lowering.nodes.append(
        Node(source.name, replace(source.op, encoding=encoding), (), Type((count,), fmt), source.origin)
    )
    return replace(state, value=source.name, least=(0,) * count, most=(top,) * count), origin


def _linear(
    state: ChainState, quantiser: Quantiser, gain: tuple[Fraction, ...], shift: tuple[Fraction, ...], bits: int
) -> Encoding | None:
    """Return the encoding by rule ``linear``, as ONNX has it, of readings that are quantised as they are; else None."""
    if quantiser.mode != "half-even":
        return None
    count, top = len(gain), (1 << bits) - 1
    # an odd number in front of the rounding turns its ties around
    if all(scale == 1 for scale in state.scale) and not any(state.shift) and quantiser.before % 2 == 0:
        step, zero = float(quantiser.scale), quantiser.zero - quantiser.low
    elif all(value == 1 for value in gain) and len(set(shift)) == 1 and shift[0].denominator == 1 and shift[0] % 2 == 0:
        step, zero = 1.0, quantiser.base - quantiser.low + int(shift[0])
    else:
        return None
    return Encoding(bits, "linear", (-zero * step,) * count, ((top - zero) * step,) * count)
