"""A model on the emulated matrix engine: its products through multiply-add chains, all else in onnxruntime."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from approxhw.common.errors import InvalidDataError, OptionError, Problem, shown
from approxhw.numerics.eight_bit.port_codes import EngineCodes, lane_problems, largest_of, read_codes, through
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import Result
from approxhw.numerics.mac.kernels.codes import Rounded, rounded
from approxhw.numerics.mac.kernels.gemm import multiply, shift_histogram

from .partition import Host, Layer, open_host
from .products import Gemm, Lowered, Matrix, MisfitError, Product, finished, lower

_log = logging.getLogger(__name__)

TILE = 1 << 22
"""Elements of an operand that one call of a kernel carries: what bounds memory."""

KEPT = 512 << 20
"""Bytes of rounded weights that are kept from run to run."""

_WORTH_A_THREAD = 1 << 19  # multiply-adds


@dataclass
class Counts:
    """What was no finite number among the activations that a layer has read.

    ``nan``, ``inf``: of them as they came; ``overflowed``: finite ones that the input format cannot hold; ``made``: results
    of the layer that are no finite number.
    """

    nan: int = 0
    inf: int = 0
    overflowed: int = 0
    made: int = 0

    def __bool__(self) -> bool:
        """Return whether anything was counted."""
        return bool(self.nan or self.inf or self.overflowed or self.made)


@dataclass(frozen=True)
class Engine:
    """A model on the matrix engine. ``macs``: per layer, None where it runs in onnxruntime in float32.

    ``codes``: which operands become 8-bit codes first. ``counts``: per layer what was no finite number, over all runs.
    Results do not depend on ``threads``.
    """

    host: Host
    macs: Mapping[str, FloatMac | None]
    result: Result = "float32"
    threads: int = 1
    codes: EngineCodes | None = None
    counts: dict[str, Counts] = field(default_factory=dict, compare=False)
    kept: dict[tuple[str, bool, int, str], Rounded] = field(default_factory=dict, compare=False, repr=False)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the products in the model's order, at the sizes it was opened with."""
        return self.host.layers

    def configured(self, mac: FloatMac | None = None, layers: Mapping[str, FloatMac | None] | None = None) -> Engine:
        """Return the same model with other arithmetic, as ``open_engine`` takes it; nothing is read or built again."""
        macs = _macs(self.host, mac, layers or {})
        return replace(self, macs=macs, codes=_codes(self.codes, macs), counts={})

    def coded(self, compress: EngineCodes | str | None) -> Engine:
        """Return the same model with its operands as 8-bit codes, such as ``dynamic8,block=256``; None: as numbers.

        Raises :class:`OptionError` for codes that do not exist, and for formats other than bf16.
        """
        return replace(self, codes=_codes(compress, self.macs), counts={})

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the model's outputs by name. *inputs*: an array each, of any size that the model leaves open.

        NaN and infinity are carried through the chains, counted, and reported in one warning for each layer. Raises
        :class:`InvalidDataError` where *inputs* do not fit.
        """
        found: dict[str, Counts] = {}
        with ThreadPoolExecutor(max(1, self.threads)) as pool:

            def work(product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
                mac = self.macs.get(product.name)
                if mac is None:
                    return self.host.plain(product, operands)
                lowered = lower(product, operands, self.host.constant_names)
                self._multiply(lowered, mac, pool)
                made = finished(lowered)
                counts = _counted(product, operands, made, mac, self.host.constant_names)
                if counts:
                    found[product.name] = counts
                return made

            outputs = self._execute(inputs, work)
        for name, counts in found.items():
            _report(name, counts)
            total = self.counts.setdefault(name, Counts())
            for key, number in vars(counts).items():
                setattr(total, key, getattr(total, key) + number)
        return outputs

    def shift_histograms(self, inputs: Mapping[str, Any], rows: int | None = None) -> dict[str, np.ndarray]:
        """Return per layer how often a sum would need which shift to be normalised exactly: int64, W + 2 counts.

        Counts 0: a carry (right by one); 1 … W: left by 0 … W − 1; W + 1: the sum is zero. *rows*: at most so many streamed
        rows of each layer are counted, evenly spaced; all by default. Every layer's inputs are those of the engine itself.
        """
        counts: dict[str, np.ndarray] = {}

        def seen(lowered: Lowered, mac: FloatMac) -> None:
            total = np.zeros(mac.accumulator_bits + 2, np.int64)
            for gemm in _sampled(lowered, rows):
                for left, right in _parts(gemm, 1):
                    sides = (
                        self.taken(gemm, left, across=False, name=lowered.product.name),
                        self.taken(gemm, right, across=True, name=lowered.product.name),
                    )
                    total += shift_histogram(*sides, mac)
            counts[lowered.product.name] = total

        self.watched(inputs, seen)
        return {layer.name: counts[layer.name] for layer in self.layers if layer.name in counts}

    def operands(self, inputs: Mapping[str, Any], layer: str, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return what streams (M × K) and what stays in the array (K × N) of one *layer* of the engine, float32, not rounded.

        *index*: which of its products, below ``count``. Raises :class:`OptionError` where there is no such layer.
        """
        return self.operands_of(inputs, [layer], index)[layer]

    def operands_of(
        self, inputs: Mapping[str, Any], layers: Sequence[str], index: int = 0, rows: int | None = None
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the same of several *layers*, by name, from one run. *rows*: at most so many that stream, the first ones."""
        known = {entry.name: entry for entry in self.layers}
        problems = [
            Problem("layer", f"there is no product {index} of a layer {shown(name)!r}", _near(name, list(known)))
            for name in layers
            if name not in known or not 0 <= index < known[name].count
        ]
        if problems:
            raise OptionError("matrix engine", problems)
        held: dict[str, tuple[np.ndarray, np.ndarray]] = {}

        def seen(lowered: Lowered, mac: FloatMac) -> None:
            if lowered.product.name in layers:
                gemm = lowered.gemms[index]
                m, n = gemm.into.shape
                down, along = (slice(0, m), slice(0, n if rows is None else min(n, rows)))
                if not gemm.streams_right:
                    down, along = slice(0, m if rows is None else min(m, rows)), slice(0, n)
                left, right = gemm.left.rows(down), gemm.right.columns(along)
                pair = (right.T, left.T) if gemm.streams_right else (left, right)
                held[lowered.product.name] = (np.array(pair[0], np.float32), np.array(pair[1], np.float32))

        macs = {**self.macs, **{name: self.macs[name] or FloatMac() for name in layers}}
        replace(self, macs=macs).watched(inputs, seen)
        return held

    def watched(self, inputs: Mapping[str, Any], seen: Callable[[Lowered, FloatMac], None]) -> None:
        """Run, and show *seen* every product that runs on the engine."""
        with ThreadPoolExecutor(max(1, self.threads)) as pool:

            def work(product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
                mac = self.macs.get(product.name)
                if mac is None:
                    return self.host.plain(product, operands)
                lowered = lower(product, operands, self.host.constant_names)
                seen(lowered, mac)
                self._multiply(lowered, mac, pool)
                return finished(lowered)

            self._execute(inputs, work)

    def _execute(
        self, inputs: Mapping[str, Any], work: Callable[[Product, Sequence[np.ndarray]], np.ndarray]
    ) -> dict[str, np.ndarray]:
        try:
            return self.host.run(self.host.checked(inputs), work)
        except MisfitError as error:
            problem = Problem(error.product.title, error.why, "give inputs of other sizes, or fewer at once")
            raise InvalidDataError(f"inputs of {self.host.model.title}", [problem]) from error

    def _multiply(self, lowered: Lowered, mac: FloatMac, pool: ThreadPoolExecutor) -> None:
        """Fill the result of *lowered*, tile by tile."""
        pieces = self.threads if lowered.sizes.count < self.threads else 1
        if lowered.sizes.products < _WORTH_A_THREAD:
            pieces = 1
        work = partial(self._tile, mac=mac, name=lowered.product.name)
        jobs = [partial(work, gemm, *part) for gemm in lowered.gemms for part in _parts(gemm, pieces)]
        if self.threads < 2 or len(jobs) == 1 or lowered.sizes.products < _WORTH_A_THREAD:
            for job in jobs:
                job()
            return
        for done in [pool.submit(job) for job in jobs]:
            done.result()

    def _tile(self, gemm: Gemm, rows: slice, columns: slice, *, mac: FloatMac, name: str) -> None:
        left = self._rounded(gemm, rows, mac.format, across=False, name=name)
        right = self._rounded(gemm, columns, mac.format, across=True, name=name)
        gemm.into[rows, columns] = multiply(left, right, mac, result=self.result)

    def _rounded(self, gemm: Gemm, pick: slice, format: str, *, across: bool, name: str) -> Rounded:
        side = gemm.right if across else gemm.left
        if isinstance(side, Matrix) and side.key is not None:
            # codes have blocks along K, so that what they leave depends on the side that a constant stands at
            key = (*side.key, format if self.codes is None else f"{format} {self.codes} {across}")
            if key not in self.kept and self._room() >= 4 * side.array.size:
                whole = self.taken(gemm, slice(None), across=across, name=name)
                self.kept[key] = rounded(whole, format)
            if (found := self.kept.get(key)) is not None:
                at = (slice(None), pick) if across else (pick,)
                return replace(
                    found,
                    numbers=np.ascontiguousarray(found.numbers[at]),
                    specials=None if found.specials is None else np.ascontiguousarray(found.specials[at]),
                )
        return rounded(self.taken(gemm, pick, across=across, name=name), format)

    def taken(self, gemm: Gemm, pick: slice, *, across: bool, name: str) -> np.ndarray:
        """Return rows of the left operand or, *across*, columns of the right one, as they come out of the ports' decoders."""
        side = gemm.right if across else gemm.left
        taken = side.columns(pick) if across else side.rows(pick)
        if self.codes is None:
            return taken
        stays = across != gemm.streams_right
        format = self.codes.stays if stays else self.codes.streams
        if format is None or not taken.size:
            return taken
        # without blocks a power of two is shared by all that stays, of which this may be a part
        largest = None
        if stays and format.block is None and isinstance(side, Matrix):
            largest = largest_of(side.array.astype(np.float32, copy=False))
        title = f"{'weights' if stays else 'activations'} of layer {shown(name, 60)}"
        vectors = through(taken.T if across else taken, format, largest=largest, name=title)
        return vectors.T if across else vectors

    def _room(self) -> int:
        return KEPT - sum(entry.numbers.nbytes for entry in list(self.kept.values()))


def open_engine(
    source: Any,
    mac: FloatMac | None = None,
    layers: Mapping[str, FloatMac | None] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    *,
    result: Result = "float32",
    threads: int = 1,
    compress: EngineCodes | str | None = None,
) -> Engine:
    """Return the model of *source* (path or ``ModelProto``) on an engine of *mac*; see ``approxhw.engine.api.open_engine``."""
    host = open_host(source, shape)
    macs = _macs(host, mac, layers or {})
    problems = []
    if result not in ("bf16", "float32"):
        problems.append(Problem("result", f"{shown(repr(result))} is no result", "choose bf16 or float32"))
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 256:
        problems.append(Problem("threads", f"{shown(repr(threads))} is no number of threads", "choose 1 … 256"))
    try:
        codes = _codes(compress, macs)
    except OptionError as error:
        problems += error.problems
    if problems:
        raise OptionError("matrix engine", problems)
    for sentence in host.model.left:
        _log.warning("%s: %s", shown(host.model.title), sentence)
    return Engine(host, macs, result, threads, codes)


def _codes(compress: EngineCodes | str | None, macs: Mapping[str, FloatMac | None]) -> EngineCodes | None:
    codes = read_codes(compress)
    formats = dict.fromkeys(mac.format for mac in macs.values() if mac is not None)
    if problems := [problem for format in formats for problem in lane_problems(codes, 1, format)]:
        raise OptionError("matrix engine", problems)
    return codes


def _macs(host: Host, mac: FloatMac | None, layers: Mapping[str, FloatMac | None]) -> dict[str, FloatMac | None]:
    known = [layer.name for layer in host.layers]
    problems = []
    for name, given in layers.items():
        if name not in known:
            problems.append(Problem(f"layer {shown(name)!r}", "the model has no such product", _near(name, known)))
        if given is not None and not isinstance(given, FloatMac):
            problems.append(Problem(f"layer {shown(name)!r}", f"{shown(repr(given))} is neither a FloatMac nor None"))
    if mac is not None and not isinstance(mac, FloatMac):
        problems.append(Problem("mac", f"{shown(repr(mac))} is neither a FloatMac nor None"))
    if problems:
        raise OptionError("matrix engine", problems)
    return {name: layers.get(name, mac) for name in known}


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {shown(near[0])!r}?" if near else f"its products are {shown(', '.join(known), 300)}"


def _parts(gemm: Gemm, pieces: int) -> list[tuple[slice, slice]]:
    """Return which rows and columns go together: tiles that fit in memory, at least *pieces* of them."""
    m, n = gemm.into.shape
    k = gemm.left.array.shape[1]
    high, wide = min(m, max(1, TILE // max(k, 1))), min(n, max(1, TILE // max(k, 1)))
    high = max(1, min(high, TILE // max(wide, 1)))
    if m >= n:
        high = max(1, min(high, -(-m // pieces)))
    else:
        wide = max(1, min(wide, -(-n // pieces)))
    columns = [slice(first, min(n, first + wide)) for first in range(0, n, wide)]
    rows = [slice(first, min(m, first + high)) for first in range(0, m, high)]
    return [(down, along) for along in columns for down in rows]


def _sampled(lowered: Lowered, rows: int | None) -> list[Gemm]:
    """Return the products of *lowered* with some of the streamed rows, evenly spaced over each of them."""
    if rows is None:
        return list(lowered.gemms)
    chosen = []
    share = max(1, -(-rows // max(1, len(lowered.gemms))))
    for gemm in lowered.gemms:
        streamed = gemm.into.shape[1 if gemm.streams_right else 0]
        if streamed <= share:
            chosen.append(gemm)
            continue
        at = np.linspace(0, streamed - 1, share).astype(np.int64)
        chosen.append(_cut(gemm, at))
    return chosen


def _cut(gemm: Gemm, at: np.ndarray) -> Gemm:
    if gemm.streams_right:
        return replace(gemm, right=Matrix(gemm.right.columns(at)), into=gemm.into[:, : len(at)])
    return replace(gemm, left=Matrix(gemm.left.rows(at)), into=gemm.into[: len(at)])


def _counted(
    product: Product, operands: Sequence[np.ndarray], made: np.ndarray, mac: FloatMac, constants: frozenset[str]
) -> Counts:
    counts = Counts()
    limit = _limit(mac)
    for name, array in zip(product.inputs[:2], operands):
        if name in constants or array.size == 0:
            continue
        if -limit < float(array.min()) and float(array.max()) < limit:
            continue  # a NaN makes a comparison false
        counts.nan += int(np.isnan(array).sum())
        infinite = int(np.isinf(array).sum())
        counts.inf += infinite
        counts.overflowed += int((np.abs(array.astype(np.float64)) >= limit).sum()) - infinite
    if made.size and not (-np.inf < made.min() and made.max() < np.inf):
        counts.made = int(made.size - np.isfinite(made).sum())
    return counts


def _limit(mac: FloatMac) -> float:
    """Return the least size that *mac*'s input format rounds to infinity or NaN."""
    code = mac.code
    if code.infinities:
        return math.ldexp(2 - 2.0 ** -(code.fraction_bits + 1), code.bias)
    # the highest code is the NaN, so the largest number is even and a tie stays with it
    tie = math.ldexp(2 - 1.5 * 2.0**-code.fraction_bits, code.bias + 1)
    return float(np.nextafter(np.float32(tie), np.float32(np.inf)))


def _report(name: str, counts: Counts) -> None:
    said = [f"{counts.nan} NaN and {counts.inf} infinities among its activations"] if counts.nan or counts.inf else []
    if counts.overflowed:
        said.append(f"{counts.overflowed} activations beyond the largest number of the input format")
    if counts.made:
        said.append(f"{counts.made} results that are no finite number")
    _log.warning("layer %s: %s; they are carried on", shown(name), ", ".join(said))
