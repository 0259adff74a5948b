"""FloatMac → the templates of the matrix engine with their parameters set: one element, or one of its parts, as a top module."""

from __future__ import annotations

from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.binned_mac import BinnedMac

_EXACT_ALIGN = 5  # shifts by up to 31: beyond that, nothing of 24 bits is left
FORMS = (0, 1, 2)
"""Forms of an element, with the same bits."""
DEPTHS = (1, 2, 3, 4)
"""Pipeline depths of an element: how many groups of multiply, align, add, normalize the registers make."""


def operand_exponent_bits(mac: FloatMac | BinnedMac) -> int:
    """Return the width of a decoded operand's exponent: unbiased, two's complement, subnormals normalised."""
    code = mac.code
    lowest = 1 - code.bias - (code.fraction_bits if code.subnormals else 0)
    highest = (1 << code.exponent_bits) - 1 - code.bias - code.infinities
    return max((-lowest - 1).bit_length(), highest.bit_length()) + 1


def operand_bits(mac: FloatMac) -> int:
    """Return the width of a decoded operand: sign, number, exponent, fraction."""
    return 2 + operand_exponent_bits(mac) + mac.code.fraction_bits


def state_bits(mac: FloatMac) -> int:
    """Return the width of a state on wires: nan, inf, sign, ten bits of exponent, the significand."""
    return mac.accumulator_bits + 13


def element_latency(depth: int) -> tuple[int, int]:
    """Return (early, lag) of an element: its state comes *early* clocks after the operand is held, and leaves *lag* later."""
    return int(depth > 2), depth - int(depth > 2)


def decode_parameters(mac: FloatMac | BinnedMac) -> dict[str, int]:
    """Return the parameters of ``float_decode`` for the codes of *mac*."""
    code = mac.code
    return {
        "EXPONENT_BITS": code.exponent_bits,
        "FRACTION_BITS": code.fraction_bits,
        "INFINITY": int(code.infinities),
        "SUBNORMALS": int(code.subnormals),
        "OPERAND_EXPONENT_BITS": operand_exponent_bits(mac),
    }


def normalize_parameters(mac: FloatMac) -> dict[str, int]:
    """Return what chooses the normalizer, EXACT, K, L, what shifters move by, STEP, and how far the aligner's does, ALIGN."""
    k, further = mac.shifts or (mac.exponent_step or 1,) * 2
    align = _EXACT_ALIGN if mac.alignment is None else mac.alignment
    step = mac.exponent_step or 0
    return {"ALIGN": align, "STEP": step, "EXACT": int(mac.shifts is None), "K": k, "L": further}


def element_parameters(mac: FloatMac, depth: int = 2, *, fast: int = 0) -> dict[str, int]:
    """Return the parameters of ``mac_element``. ``depth``: 1 to 4. ``fast``: a form, as :func:`element_verilog` has it."""
    check_depth(depth)
    if not isinstance(mac, FloatMac):
        why = f"{shown(repr(mac), 60)} is no FloatMac"
        raise OptionError("matrix engine", [Problem("mac", why, "give FloatMac(), say")])
    if type(fast) not in (int, bool) or fast not in FORMS:
        why = f"{shown(repr(fast), 60)} is no form of an element"
        raise OptionError("matrix engine", [Problem("fast", why, "choose 0, 1 or 2")])
    return {
        "EXPONENT_BITS": operand_exponent_bits(mac),
        "FRACTION_BITS": mac.code.fraction_bits,
        "W": mac.accumulator_bits,
        **normalize_parameters(mac),
        "DEPTH": depth,
        "FAST": int(fast),
    }


def bins_parameters(mac: BinnedMac) -> dict[str, int]:
    """Return the parameters that ``mac_bins`` and ``bins_end`` share."""
    return {
        "FRACTION_BITS": mac.code.fraction_bits,
        "LOWEST": -mac.lowest,
        "LOG": mac.bin_log,
        "BINS": mac.bins,
        "BIN_BITS": mac.bin_bits,
    }


def binned_element(mac: BinnedMac, depth: int = 3, *, fast: int = 0) -> str:
    """Return ``mac_bins``, one element with binned sums, as Verilog with all its parts. ``depth``: 1 to 3."""
    own = {
        "EXPONENT_BITS": operand_exponent_bits(mac),
        "PLACED": mac.addend_bits + 1,
        "DEPTH": depth,
        "FAST": fast,
    }
    return configured("mac_bins", bins_parameters(mac) | own)


def check_depth(depth: int) -> None:
    """Raise :class:`OptionError` for a pipeline depth that no element has."""
    if type(depth) is not int or depth not in DEPTHS:
        raise OptionError(
            "matrix engine", [Problem("depth", f"{shown(repr(depth))} is no depth", "choose 1, 2, 3 or 4")]
        )


def element_verilog(mac: FloatMac, depth: int = 2, *, fast: int = 0) -> str:
    """Return one element of the array, ``mac_element``, as Verilog with all its parts: what an estimate of the PE reads.

    ``fast``: 0, carries ripple; 2, they go through prefix trees; 1, the multiplier and the leading zeros are trees, too.
    """
    return configured("mac_element", element_parameters(mac, depth, fast=fast))
