"""``approxhw eight-bit-rtl``: its options, all their problems at once, and the Verilog file that it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from approxhw.cli.parameters.command import Command
from approxhw.cli.targets.shared import CODES
from approxhw.common.errors import OptionError, OutputError, Problem, ProblemsError, shown
from approxhw.common.option_fields import argument, option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal

Made = TypeVar("Made")

PARTS = ("decoder", "encoder", "normalizer", "compressor")
BLOCK = 256
"""Values of a block where the format has none and a normalizer needs one."""
MARK = "// approxhw "
"""How a file begins that this command wrote, and may replace."""


@dataclass(frozen=True)
class EightBitOptions:
    """What ``eight-bit-rtl`` takes."""

    format: str = argument("8-bit code, such as dynamic8,block=256", choices=CODES)
    part: str = option(f"{', '.join(PARTS[:-1])} or {PARTS[-1]}", "decoder", choices=PARTS, metavar="PART")
    lanes: int | None = option("values a clock, registered", None, shown_default="no clock; normalizer, compressor: 1")
    fixed: str | None = option(
        "WIDTH.FRACTION of fixed point, such as 12.11, instead of bfloat16", None, metavar="WIDTH.FRACTION"
    )
    maximum: int | None = option("exponent of the maximum that fixed point is scaled by", None, shown_default="0")
    output: Path = option("the Verilog file", short="-o")


def run(terminal: Terminal, options: EightBitOptions) -> dict[str, object]:
    """Write a decoder, encoder, normalizer or compressor of the 8-bit code FORMAT as Verilog."""
    from approxhw.common.files import write_beside
    from approxhw.common.version import __version__

    top, text, latency = _made(options)
    output = options.output
    _check_file(output)
    part, lanes = options.part, options.lanes
    title = f"{options.format} {part}{'' if lanes is None else f', {lanes} lanes'}"
    write_beside(output, f"{MARK}{__version__}: {shown(title, 100)}; top {top}\n{text}")
    when = "no clock" if latency is None else f"results {latency} clock{'s' * (latency > 1)} after the row they come of"
    if part in PARTS[2:]:
        when = f"a block comes out {latency} clocks after its last row is in"
    terminal.say(f"{output}: top {top}, {when}")
    return {"output": str(output), "top": top, "part": part, "lanes": lanes, "latency": latency}


def _made(options: EightBitOptions) -> tuple[str, str, int | None]:
    """Return top module, Verilog, and latency; raise :class:`OptionError` with all that is wrong."""
    from dataclasses import replace

    from approxhw.backends.matrix_engine import eight_bit_rtl as rtl
    from approxhw.common.options import suggestion
    from approxhw.numerics.eight_bit.codes import dynamic8, parse

    problems: list[Problem] = []

    def tried(make: Callable[[], Made], otherwise: Made, **names: str) -> Made:
        try:
            return make()
        except ProblemsError as error:
            problems.extend(
                Problem(names.get(each.where, each.where), each.why, each.remedy) for each in error.problems
            )
            return otherwise

    part, lanes, text, maximum = options.part, options.lanes, options.fixed, options.maximum
    blocks = part in PARTS[2:]
    if part not in PARTS:
        why = f"there is no part {shown(part)!r}{suggestion(part, PARTS)}"
        problems.append(Problem("--part", why, f"choose one of {', '.join(PARTS)}"))
    format = tried(lambda: parse(options.format), dynamic8(), format="FORMAT", kind="FORMAT")
    names = dict.fromkeys(("fixed", "width", "fraction"), "--fixed")
    fixed = None if text is None else tried(lambda: rtl.parse_fixed(text), rtl.FixedPoint(16, 15), **names)
    if fixed is not None and blocks:
        problems.append(Problem("--fixed", f"a {part} takes bfloat16 alone", "leave it out"))
    if maximum is not None and (part != "decoder" or text is None):
        why = "it is for a decoder to fixed point; bfloat16 has a port for the exponent"
        problems.append(Problem("--maximum", why, "leave it out"))
    makers: dict[str, Callable[[], tuple[str, str, int | None]]] = {
        "decoder": lambda: (
            rtl.decoder_top(lanes, fixed),
            rtl.decoder_verilog(format, lanes=lanes, fixed=fixed, maximum=maximum or 0),
            None if lanes is None else rtl.LATENCY,
        ),
        "encoder": lambda: (
            rtl.encoder_top(lanes, fixed),
            rtl.encoder_verilog(format, lanes=lanes, fixed=fixed),
            None if lanes is None else rtl.LATENCY,
        ),
    }
    if blocks:
        kept = format if format.block else replace(format, block=BLOCK, maximum="pow2")
        count = 1 if lanes is None else lanes
        makers["normalizer"] = lambda: (
            "eight_bit_normalize",
            rtl.normalizer_verilog(kept, lanes=count),
            rtl.NORMALIZER_LATENCY,
        )
        makers["compressor"] = lambda: (
            "eight_bit_compress",
            rtl.compressor_verilog(kept, lanes=count),
            rtl.NORMALIZER_LATENCY + rtl.LATENCY,
        )
    made = tried(makers[part], None, lanes="--lanes", maximum="--maximum") if part in makers else None
    if problems or made is None:
        raise OptionError("eight-bit-rtl", problems)
    top, verilog, latency = made
    return top, verilog, latency


def _check_file(path: Path) -> None:
    """Refuse to replace what this command did not write."""
    if not path.exists() and not path.is_symlink():
        return
    ours = False
    if path.is_file() and not path.is_symlink():
        from approxhw.common.files import opened

        with opened(path) as file:
            ours = file.read(len(MARK)) == MARK.encode()
    if not ours:
        why = "it is there already, and approxhw did not write it"
        raise OutputError("output", [Problem(str(path), why, "choose another file with -o, or move that one away")])


COMMAND = Command("eight-bit-rtl", run, EightBitOptions)
