"""A tensor Graph on the emulated matrix engine: its products through multiply-add chains, all else on the host."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from approxhw.common.errors import InvalidDataError, OptionError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant
from approxhw.ir.kinds.tensor.blocks import Matrix, MisfitError, Product, ProductBlock
from approxhw.ir.kinds.tensor.integers import ConvInteger, MatMulInteger
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm, MatMul
from approxhw.ir.kinds.tensor.products import LoweredProduct, finish_product, lower_product
from approxhw.numerics.eight_bit.port_codes import EngineCodes, largest_of, read_codes, through
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import Result
from approxhw.numerics.mac.kernels.codes import Rounded, rounded
from approxhw.numerics.mac.kernels.gemm import matmul_rounded, shift_histogram

from .integers import integer_product
from .layers import ProductLayer, macs_of, near, product_layers, with_codes, with_macs
from .run import HostRuntime, checked_feeds, plan_of, run_tensors, title_of

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
class EmulatedEngine:
    """A tensor Graph with what carries out its Host Nodes: the meaning of a model on a matrix engine.

    The arithmetic of every product is that of its Node. ``counts``: per layer what was no finite number, over all runs.
    Results do not depend on ``threads``.
    """

    graph: Graph
    host: HostRuntime
    threads: int = 1
    counts: dict[str, Counts] = field(default_factory=dict, compare=False)
    kept: dict[tuple[str, bool, int, str], Rounded] = field(default_factory=dict, compare=False, repr=False)

    @property
    def layers(self) -> tuple[ProductLayer, ...]:
        """The products in the model's order, at the sizes it was opened with."""
        return product_layers(self.graph)

    @property
    def macs(self) -> dict[str, FloatMac | None]:
        """The arithmetic of every layer; None where it runs on the host."""
        return macs_of(self.graph)

    @property
    def codes(self) -> EngineCodes | None:
        """Which operands become 8-bit codes first."""
        return plan_of(self.graph).codes

    def configured(
        self, mac: FloatMac | None = None, layers: Mapping[str, FloatMac | None] | None = None
    ) -> EmulatedEngine:
        """Return the same model with other arithmetic, as ``open_engine`` takes it; nothing is read or built again."""
        return self.on(with_codes(with_macs(self.graph, mac, layers), self.codes))

    def coded(self, compress: EngineCodes | str | None) -> EmulatedEngine:
        """Return the same model with its operands as 8-bit codes, such as ``dynamic8,block=256``; None: as numbers.

        Raises :class:`OptionError` for codes that do not exist, and for formats other than bf16.
        """
        return self.on(with_codes(self.graph, read_codes(compress)))

    def on(self, graph: Graph) -> EmulatedEngine:
        """Return *graph* on what is open already, and on what is rounded where its constants are the same."""
        known = self.graph.by_name
        # a name says nothing: Graphs of different passes may call different constants alike
        others = any(
            isinstance(node.op, Constant) and (node.name not in known or known[node.name].op is not node.op)
            for node in graph.nodes
        )
        return replace(self, graph=graph, counts={}, kept={} if others else self.kept)

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Return the model's outputs by name. *inputs*: an array each, of any size that the model leaves open.

        NaN and infinity are carried through the chains, counted, and reported in one warning for each layer. Raises
        :class:`InvalidDataError` where *inputs* do not fit.
        """
        found: dict[str, Counts] = {}
        with ThreadPoolExecutor(max(1, self.threads)) as pool:

            def work(node: Node, product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
                if isinstance(node.op, MatMulInteger | ConvInteger):
                    return integer_product(node.op, product, operands, self._constants, self.threads)
                mac = self._mac(node)
                if mac is None:
                    return self.host.plain(node, operands)
                lowered = lower_product(product, operands, self._constants)
                self._multiply(lowered, node, mac, pool)
                made = finish_product(lowered)
                counts = _counted(product, operands, made, mac, self._constants)
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

    def shift_histograms(self, inputs: Mapping[str, ArrayLike], rows: int | None = None) -> dict[str, np.ndarray]:
        """Return per layer how often a sum would need which shift to be normalised exactly: int64, W + 2 counts.

        Counts 0: a carry (right by one); 1 … W: left by 0 … W − 1; W + 1: the sum is zero. *rows*: at most so many streamed
        rows of each layer are counted, evenly spaced; all by default. Every layer's inputs are those of the engine itself.
        """
        counts: dict[str, np.ndarray] = {}
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
            why = f"{shown(repr(rows))} is no number of rows"
            raise OptionError("matrix engine", [Problem("rows", why, "give 1 or more, or leave it out for all")])

        def seen(lowered: LoweredProduct, mac: FloatMac) -> None:
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

    def operands(self, inputs: Mapping[str, ArrayLike], layer: str, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return what streams (M × K) and what stays in the array (K × N) of one *layer* of the engine, float32, not rounded.

        *index*: which of its products, below ``count``. Raises :class:`OptionError` where there is no such layer.
        """
        return self.operands_of(inputs, [layer], index)[layer]

    def operands_of(
        self, inputs: Mapping[str, ArrayLike], layers: Sequence[str], index: int = 0, rows: int | None = None
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the same of several *layers*, by name, from one run. *rows*: at most so many that stream, the first ones."""
        known = {entry.name: entry for entry in self.layers}
        whole = isinstance(index, int) and not isinstance(index, bool)
        problems = [
            Problem("layer", f"there is no product {shown(index)} of a layer {shown(name)!r}", near(name, list(known)))
            for name in layers
            if name not in known or not whole or not 0 <= index < known[name].count
        ]
        if problems:
            raise OptionError("matrix engine", problems)
        held: dict[str, tuple[np.ndarray, np.ndarray]] = {}

        def seen(lowered: LoweredProduct, mac: FloatMac) -> None:
            if lowered.product.name in layers:
                gemm = lowered.gemms[index]
                m, n = gemm.into.shape
                down, along = (slice(0, m), slice(0, n if rows is None else min(n, rows)))
                if not gemm.streams_right:
                    down, along = slice(0, m if rows is None else min(m, rows)), slice(0, n)
                left, right = gemm.left.rows(down), gemm.right.columns(along)
                pair = (right.T, left.T) if gemm.streams_right else (left, right)
                held[lowered.product.name] = (np.array(pair[0], np.float32), np.array(pair[1], np.float32))

        macs = self.macs
        asked = {name: macs[name] or FloatMac() for name in layers}
        replace(self, graph=with_macs(self.graph, None, {**macs, **asked})).watched(inputs, seen)
        return held

    def watched(self, inputs: Mapping[str, ArrayLike], seen: Callable[[LoweredProduct, FloatMac], None]) -> None:
        """Run, and show *seen* every product that runs on the engine."""
        with ThreadPoolExecutor(max(1, self.threads)) as pool:

            def work(node: Node, product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
                if isinstance(node.op, MatMulInteger | ConvInteger):
                    return integer_product(node.op, product, operands, self._constants, self.threads)
                mac = self._mac(node)
                if mac is None:
                    return self.host.plain(node, operands)
                lowered = lower_product(product, operands, self._constants)
                seen(lowered, mac)
                self._multiply(lowered, node, mac, pool)
                return finish_product(lowered)

            self._execute(inputs, work)

    def _execute(
        self, inputs: Mapping[str, ArrayLike], work: Callable[[Node, Product, Sequence[np.ndarray]], np.ndarray]
    ) -> dict[str, np.ndarray]:
        try:
            return run_tensors(self.graph, checked_feeds(self.graph, inputs), self.host, work)
        except MisfitError as error:
            problem = Problem(error.product.title, error.why, "give inputs of other sizes, or fewer at once")
            raise InvalidDataError(f"inputs of {title_of(self.graph)}", [problem]) from error

    def _mac(self, node: Node) -> FloatMac | None:
        assert isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose)
        return node.op.arithmetic

    @property
    def _constants(self) -> frozenset[str]:
        return plan_of(self.graph).names

    def _multiply(self, lowered: LoweredProduct, node: Node, mac: FloatMac, pool: ThreadPoolExecutor) -> None:
        """Fill the result of *lowered*, tile by tile."""
        pieces = self.threads if lowered.sizes.count < self.threads else 1
        if lowered.sizes.products < _WORTH_A_THREAD:
            pieces = 1
        assert isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose)
        work = partial(self._tile, mac=mac, name=lowered.product.name, result=node.op.result)
        jobs = [partial(work, gemm, *part) for gemm in lowered.gemms for part in _parts(gemm, pieces)]
        if self.threads < 2 or len(jobs) == 1 or lowered.sizes.products < _WORTH_A_THREAD:
            for job in jobs:
                job()
            return
        for done in [pool.submit(job) for job in jobs]:
            done.result()

    def _tile(
        self, gemm: ProductBlock, rows: slice, columns: slice, *, mac: FloatMac, name: str, result: Result
    ) -> None:
        left = self._rounded(gemm, rows, mac.format, across=False, name=name)
        right = self._rounded(gemm, columns, mac.format, across=True, name=name)
        gemm.into[rows, columns] = matmul_rounded(left, right, mac, result=result)

    def _rounded(self, gemm: ProductBlock, pick: slice, format: str, *, across: bool, name: str) -> Rounded:
        side = gemm.right if across else gemm.left
        if isinstance(side, Matrix) and side.key is not None:
            # one constant may be several matrices: a vector a row and a column, filters of a convolution those of a product;
            # codes have blocks along K, so that what they leave depends on the side that it stands at
            how = f"{format} {side.array.shape}"
            key = (*side.key, how if self.codes is None else f"{how} {self.codes} {across}")
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

    def taken(self, gemm: ProductBlock, pick: slice, *, across: bool, name: str) -> np.ndarray:
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


def _parts(gemm: ProductBlock, pieces: int) -> list[tuple[slice, slice]]:
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


def _sampled(lowered: LoweredProduct, rows: int | None) -> list[ProductBlock]:
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


def _cut(gemm: ProductBlock, at: np.ndarray) -> ProductBlock:
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
