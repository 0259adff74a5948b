"""A matrix engine: its description, its Verilog from the templates, and the words of its streams for any matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from approxhw.backends.systolic.protocol import FAULTS
from approxhw.backends.systolic.schedule import Schedule, Tile
from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.eight_bit.codes import EightBit
from approxhw.numerics.eight_bit.port_codes import EXPONENT_BITS, EngineCodes, Packed, lane_problems
from approxhw.numerics.eight_bit.tables import KINDS
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import Result

from .templates import DEPTHS, decode_parameters, element_latency, normalize_parameters

TOP = "matrix_engine"
"""The top module of an engine."""
CODED_TOP = "matrix_engine_codes"
"""The top module of an engine with 8-bit codes on a port: a ``matrix_engine`` behind decoders."""
CODED_FAULTS = (*FAULTS, "a word of codes has an exponent below -96")
"""What they say of the top module with 8-bit codes on a port."""

_RESULT_BITS: dict[str, int] = {"bf16": 16, "float32": 32}


@dataclass(frozen=True)
class Engine:
    """A weight-stationary array of ``rows`` x ``columns`` elements with its streams.

    ``depth``: pipeline registers of an element, 1 to 4. ``result``: what leaves a column, "bf16" or "float32".
    ``vectors``: how many states of a column wait between two tiles of one chain, a power of two. ``fast``: prefix trees in
    place of rippling carries. ``codes``: which ports carry 8-bit codes. Raises :class:`OptionError` with all problems.
    """

    rows: int = 16
    columns: int = 16
    mac: FloatMac = field(default_factory=FloatMac)
    depth: int = 2
    result: Result = "float32"
    vectors: int = 256
    fast: bool = False
    codes: EngineCodes | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        problems = [
            Problem(name, f"{shown(repr(count))} is no number of {name} from 1 to 256", "choose 1 to 256")
            for name, count in (("rows", self.rows), ("columns", self.columns))
            if type(count) is not int or not 1 <= count <= 256
        ]
        if type(self.depth) is not int or self.depth not in DEPTHS:
            problems.append(Problem("depth", f"{shown(repr(self.depth))} is no depth", "choose 1, 2, 3 or 4"))
        if not isinstance(self.result, str) or self.result not in _RESULT_BITS:
            problems.append(Problem("result", f"{shown(repr(self.result))} is no result", "choose bf16 or float32"))
        if type(self.vectors) is not int or self.vectors not in [1 << n for n in range(1, 17)]:
            why = f"{shown(repr(self.vectors))} is no power of two from 2 to 65536"
            problems.append(Problem("vectors", why, "choose 256, say"))
        if not isinstance(self.mac, FloatMac):
            problems.append(Problem("mac", f"{shown(repr(self.mac), 60)} is no FloatMac", "give FloatMac(), say"))
        if not isinstance(self.fast, bool):
            problems.append(Problem("fast", f"{shown(repr(self.fast), 60)} is neither True nor False"))
        if self.codes is not None and not isinstance(self.codes, EngineCodes):
            why = f"{shown(repr(self.codes), 60)} are no codes of ports"
            problems.append(Problem("codes", why, "give EngineCodes(), or leave it out"))
        elif isinstance(self.mac, FloatMac) and type(self.rows) is int:
            problems += lane_problems(self.codes, self.rows, self.mac.format)
        if problems:
            raise OptionError("matrix engine", problems)

    @property
    def top(self) -> str:
        """The name of the top module."""
        return TOP if self.codes is None else CODED_TOP

    @property
    def weight_codes(self) -> EightBit | None:
        """The 8-bit code on the port of weights; None where numbers go over it."""
        return None if self.codes is None else self.codes.stays

    @property
    def activation_codes(self) -> EightBit | None:
        """The 8-bit code on the port of activations; None where numbers go over it."""
        return None if self.codes is None else self.codes.streams

    @property
    def code_bits(self) -> int:
        """Width of a weight or activation in the format of the array."""
        return self.mac.code.bits

    @property
    def word_bits(self) -> int:
        """Width of a word of weights or activations in the format of the array: one a row."""
        return self.rows * self.code_bits

    @property
    def weight_word_bits(self) -> int:
        """Width of a word on the port of weights."""
        return self.word_bits if self.weight_codes is None else 8 * self.rows + EXPONENT_BITS

    @property
    def activation_word_bits(self) -> int:
        """Width of a word on the port of activations."""
        return self.word_bits if self.activation_codes is None else 8 * self.rows + EXPONENT_BITS

    @property
    def result_bits(self) -> int:
        """Width of one result."""
        return _RESULT_BITS[self.result]

    def beats(self) -> dict[str, dict[str, int]]:
        """Return the bits of a beat of ``weights`` and of ``activations``, and how many they are without 8-bit codes."""
        ports = {"weights": self.weight_word_bits, "activations": self.activation_word_bits}
        return {name: {"bits": bits, "without_codes": self.word_bits} for name, bits in ports.items()}

    @property
    def latency(self) -> int:
        """Clocks from a vector's word to its states at the south of column 0; column c is c clocks later."""
        early, lag = element_latency(self.depth)
        return self.rows * lag + early + 1

    def parameters(self) -> dict[str, int]:
        """Return the parameters of the top module's template."""
        given = {
            **self.array_parameters(),
            "RESULT_BITS": self.result_bits,
            "ADDRESS_BITS": self.vectors.bit_length() - 1,
        }
        if self.codes is None:
            return given
        for name in decode_parameters(
            self.mac
        ):  # those of bf16, the only format behind decoders, stand in the template
            del given[name]
        ports = {"WEIGHT_CODES": self.weight_codes, "ACTIVATION_CODES": self.activation_codes}
        return given | {name: 0 if code is None else 1 + KINDS.index(code.kind) for name, code in ports.items()}

    def array_parameters(self) -> dict[str, int]:
        """Return the parameters of the template ``mac_array``."""
        return {
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            **decode_parameters(self.mac),
            "W": self.mac.accumulator_bits,
            **normalize_parameters(self.mac),
            "DEPTH": self.depth,
            "FAST": int(self.fast),
        }

    def as_data(self) -> dict[str, object]:
        """Return the description as plain data for JSON."""
        return asdict(self)


def engine_verilog(engine: Engine, header: Sequence[str] = ()) -> str:
    """Return the whole engine as Verilog-2005, top module ``engine.top``. ``header``: comment lines on top."""
    _check_engine(engine)
    head = "".join(f"// {line}\n" for line in header)
    text = configured(engine.top, engine.parameters())
    return f"{head}\n{text}" if head else text


def weight_words(engine: Engine, schedule: Schedule, codes: np.ndarray | Packed) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of the stream of weights, and for each whether it ends a tile. *codes*: B, k x n, unsigned codes.

    Words: uint8, words x bytes, least significant byte first; of each tile the last column comes first. Where 8-bit codes go
    over the port, *codes* are those of B's columns, n x k; a word's exponent is its uppermost byte.
    """
    ends = np.zeros((len(schedule.tiles), engine.columns), dtype=bool)
    ends[:, -1] = True
    if isinstance(codes, Packed) or engine.weight_codes is not None:
        packed = _packed(codes, engine.weight_codes, (schedule.n, schedule.k), "weights")
        octets = np.zeros((*ends.shape, engine.rows + 1), dtype=np.uint8)
        for number, tile in enumerate(schedule.tiles):
            part = _beats(packed, slice(tile.n, tile.n + tile.width), tile, engine.rows)
            octets[number, engine.columns - tile.width :] = part[::-1]
        return octets.reshape(-1, engine.rows + 1), ends.reshape(-1)
    _fitting(codes, (schedule.k, schedule.n), "weights")
    _check_codes(codes, engine.code_bits, "weights")
    words = np.zeros((len(schedule.tiles), engine.columns, engine.rows), dtype=_dtype(engine))
    for number, tile in enumerate(schedule.tiles):
        part = codes[tile.k : tile.k + tile.depth, tile.n : tile.n + tile.width]
        words[number, engine.columns - tile.width :, : tile.depth] = part.T[::-1]
    return words.reshape(-1, engine.rows).view(np.uint8), ends.reshape(-1)


def activation_words(
    engine: Engine, schedule: Schedule, codes: np.ndarray | Packed
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the words of the stream of activations, their tlast and their tuser. *codes*: A, m x k, unsigned codes.

    Where 8-bit codes go over the port, *codes* are those of A's rows, and a word's exponent is its uppermost byte.
    """
    packed = None
    if isinstance(codes, Packed) or engine.activation_codes is not None:
        packed = _packed(codes, engine.activation_codes, (schedule.m, schedule.k), "activations")
    else:
        _fitting(codes, (schedule.m, schedule.k), "activations")
        _check_codes(codes, engine.code_bits, "activations")
    words, ends, user = [], [], []
    for tile in schedule.tiles:
        vectors = slice(tile.m, tile.m + tile.count)
        if packed is not None:
            words.append(_beats(packed, vectors, tile, engine.rows))
        elif not isinstance(codes, Packed):
            block = np.zeros((tile.count, engine.rows), dtype=_dtype(engine))
            block[:, : tile.depth] = codes[vectors, tile.k : tile.k + tile.depth]
            words.append(block)
        ends.append(np.arange(tile.count) == tile.count - 1)
        user.append(np.full(tile.count, tile.first | tile.last << 1))
    return np.concatenate(words).view(np.uint8), np.concatenate(ends), np.concatenate(user)


def result_words(
    engine: Engine, schedule: Schedule, results: np.ndarray, special: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the words that must leave the engine, and their tlast. *results*: m x n float32, bf16 numbers too.

    Columns beyond n have zeros as weights: they yield +0, or nan for the vectors with a nan or infinity, which *special*
    (m booleans) tells; by default there are none.
    """
    _fitting(results, (schedule.m, schedule.n), "results")
    codes = np.ascontiguousarray(results, dtype=np.float32).view(np.uint32)
    narrow = codes >> 16 if engine.result == "bf16" else codes
    words, ends = [], []
    for tile in schedule.leaving:
        block = np.zeros((tile.count, engine.columns), dtype=_result_dtype(engine))
        if special is not None:
            block[special[tile.m : tile.m + tile.count]] = 0x7FC0 << (engine.result_bits - 16)
        block[:, : tile.width] = narrow[tile.m : tile.m + tile.count, tile.n : tile.n + tile.width]
        words.append(block)
        ends.append(np.arange(tile.count) == tile.count - 1)
    return np.concatenate(words).view(np.uint8), np.concatenate(ends)


def gather_results(engine: Engine, schedule: Schedule, words: np.ndarray) -> np.ndarray:
    """Return the product, m x n float32, from the *words* that left the engine: the inverse of :func:`result_words`."""
    values = words.reshape(-1).view(_result_dtype(engine)).astype(np.uint32).reshape(-1, engine.columns)
    codes = np.zeros((schedule.m, schedule.n), dtype=np.uint32)
    start = 0
    for tile in schedule.leaving:
        block = values[start : start + tile.count, : tile.width]
        codes[tile.m : tile.m + tile.count, tile.n : tile.n + tile.width] = block
        start += tile.count
    return (codes << 16 if engine.result == "bf16" else codes).astype(np.uint32).view(np.float32)


def busy_clocks(engine: Engine, schedule: Schedule) -> int:
    """Return the fewest clocks that *schedule* takes: a tile's weights and vectors, and the last results' way out."""
    words = sum(engine.columns + tile.count for tile in schedule.tiles)
    # the first weights are a clock later behind decoders; activations wait for them anyway
    return words + engine.latency + engine.columns + 2 + int(engine.weight_codes is not None)


def _beats(packed: Packed, vectors: slice, tile: Tile, rows: int) -> np.ndarray:
    """Return a word of codes for each of some *vectors* along K: uint8, vectors x (rows + 1)."""
    block = packed.format.block or packed.codes.shape[1]
    part = np.zeros((vectors.stop - vectors.start, rows + 1), dtype=np.uint8)
    part[:, : tile.depth] = packed.codes[vectors, tile.k : tile.k + tile.depth]
    part[:, rows] = packed.exponents[vectors, tile.k // block].view(np.uint8)
    return part


def _packed(codes: np.ndarray | Packed, wanted: EightBit | None, shape: tuple[int, int], what: str) -> Packed:
    if not isinstance(codes, Packed):
        why = f"are numbers, and the port carries {wanted}"
    elif wanted is None or codes.format != wanted:
        why = f"are {codes.format}, and the port carries {wanted or 'numbers'}"
    else:
        _fitting(codes.codes, shape, what)
        return codes
    raise OptionError("schedule of a matrix product", [Problem(what, why)])


def _dtype(engine: Engine) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u1" if engine.code_bits == 8 else "<u2")


def _result_dtype(engine: Engine) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2" if engine.result == "bf16" else "<u4")


def _fitting(codes: np.ndarray, shape: tuple[int, int], what: str) -> None:
    if not isinstance(codes, np.ndarray):
        why = f"are no array, but {shown(type(codes).__name__)}"
    elif codes.shape != shape:
        why = f"have shape {codes.shape}, not {shape}"
    else:
        return
    raise OptionError("schedule of a matrix product", [Problem(what, why)])


def _check_codes(codes: np.ndarray, bits: int, what: str) -> None:
    if codes.dtype.kind not in "iu":
        why = f"are {codes.dtype}, not codes: whole numbers without a sign"
    elif codes.size and (int(codes.min()) < 0 or int(codes.max()) >> bits):
        why = f"are no codes of {bits} bits"
    else:
        return
    raise OptionError("schedule of a matrix product", [Problem(what, why, "round numbers to codes first (to_codes)")])


def _check_engine(engine: Engine) -> None:
    if not isinstance(engine, Engine):
        why = f"{shown(type(engine).__name__)} is no engine"
        raise OptionError("matrix engine", [Problem("engine", why, "give Engine(), say")])
