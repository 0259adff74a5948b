"""Gradients in 8 bits between the processes of PyTorch's DistributedDataParallel: a communication hook, and its state.

>>> state = CompressedExchange(dynamic8(block=256))
>>> model.register_comm_hook(state, compressed_exchange)

``docs/gradients.md`` says what is sent. PyTorch is imported on first use (``pip install 'approxhw[gradients]'``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import InvalidDataError, OptionError, Problem, ToolNotFoundError, shown
from approxhw.numerics.eight_bit.codes import EightBit, dynamic8, parse

from .shard_exchange import Shards

if TYPE_CHECKING:
    import torch
    from torch import distributed

NONFINITE = ("raise", "nan")
"""What becomes of NaN and ±∞ in a bucket: an error on every rank, or a bucket of NaN on every rank."""

ELSEWHERE = "its gradients cannot be encoded; its own error says why"
TOO_LARGE = "the mean of its shard is beyond what the format can hold"

HALF = 65504.0
"""Largest float16."""

GREETING = 64
"""Bytes that each rank sends each other once, so that ranks of different formats are found out."""

TYPES = ("float16", "bfloat16", "float32", "float64")
"""Types of gradients; all are exchanged as float32 rounded to 8 bits."""


@dataclass(eq=False)
class CompressedExchange:
    """State of :func:`compressed_exchange` on one rank: what to send, what rounding has left behind, how much was sent.

    ``format``: an 8-bit format or its spelling, ``"dynamic8,block=256"``. ``error_feedback``: add what the codes lost to the
    next gradients (float32, one value a parameter). ``group``: process group, the default one if None; it must carry tensors
    of the CPU, as gloo does. ``nonfinite``: :data:`NONFINITE`; "nan" suits ``torch.amp.GradScaler``, which then skips the
    step. All ranks must use the same options. Raises :class:`OptionError`, and :class:`ToolNotFoundError` without PyTorch.
    """

    format: EightBit | str = field(default_factory=lambda: dynamic8(block=256))
    error_feedback: bool = True
    group: distributed.ProcessGroup | None = None
    nonfinite: str = "raise"
    bytes_sent: int = field(default=0, init=False)
    """Bytes that this rank has handed to collectives for other ranks."""
    elements: int = field(default=0, init=False)
    """Gradients exchanged so far, over all buckets and steps."""
    ring_bytes: float = field(default=0.0, init=False)
    """Bytes that float32 ring all-reduces of them would have sent: 8(n − 1)/n each."""
    _residuals: dict[int, tuple[torch.Tensor, np.ndarray]] = field(default_factory=dict, init=False, repr=False)
    _under_way: list[Iterator[None]] = field(default_factory=list, init=False, repr=False)
    _ranks: int = field(default=0, init=False, repr=False)
    _rank: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse options that do not exist."""
        _distributed()
        if isinstance(self.format, str):
            self.format = parse(self.format)
        found = []
        if not isinstance(self.format, EightBit):
            why = f"{type(self.format).__name__} is no 8-bit format"
            found.append(Problem("format", why, "make one with approxhw.numerics.formats.dynamic8(block=256)"))
        if self.nonfinite not in NONFINITE:
            found.append(Problem("nonfinite", f"{shown(self.nonfinite)!r} is none", f"choose {' or '.join(NONFINITE)}"))
        if found:
            raise OptionError("gradient exchange", found)

    @property
    def ratio(self) -> float:
        """How many times fewer bytes were sent than by float32 ring all-reduces; 1 before anything was sent."""
        return self.ring_bytes / self.bytes_sent if self.bytes_sent else 1.0

    def residual(self, parameter: torch.Tensor) -> np.ndarray | None:
        """Return what will be added to the next gradient of *parameter* (float32, flat, this rank's part of it).

        Added up over the ranks, residuals are the sum of all gradients so far less the number of ranks times the sum of
        all exchanged means. None before the first exchange and without error feedback.
        """
        found = self._residuals.get(id(parameter))
        return None if found is None else found[1]

    def _remembered(self, parameters: list[torch.Tensor], elements: int) -> np.ndarray:
        """Residuals are kept by parameter: DDP sorts parameters into other buckets after the first step."""
        found = [self._residuals[id(p)][1] if id(p) in self._residuals else _zeros(p) for p in parameters]
        values = np.concatenate(found) if found else np.zeros(0, dtype=np.float32)
        if len(values) != elements:
            why = f"{elements} values for parameters of {len(values)}"
            raise InvalidDataError("gradient exchange", [Problem("bucket", why, "use error_feedback=False")])
        return values

    def _remember(self, parameters: list[torch.Tensor], values: np.ndarray) -> None:
        first = 0
        for parameter in parameters:
            last = first + parameter.numel()
            self._residuals[id(parameter)] = (parameter, values[first:last])  # the parameter too: ids are used again
            first = last

    def _greet(self) -> None:
        """Learn who is there, and that all mean the same; once."""
        distributed = _distributed()
        backends = distributed.get_backend_config(self.group)
        if "cpu:" not in str(backends):
            why = f"its backend {backends} carries no tensors of the CPU"
            remedy = "give the exchange one of its own: group=torch.distributed.new_group(backend='gloo')"
            raise OptionError("gradient exchange", [Problem("group", why, remedy)])
        ranks, rank = distributed.get_world_size(self.group), distributed.get_rank(self.group)
        if ranks > 1:
            text = f"{self.format}, nonfinite={self.nonfinite}".encode().ljust(GREETING)
            work, said = _gather(np.frombuffer(text, np.uint8).copy(), ranks, self.group)
            work.wait()
            self.bytes_sent += (ranks - 1) * GREETING
            heard = [bytes(part).decode(errors="replace").strip() for part in said.numpy().reshape(ranks, GREETING)]
            why, remedy = f"rank 0 {shown(heard[0])}", "use the same options on all"
            others = [
                Problem(f"rank {r}", f"exchanges {shown(words)}, {why}", remedy)
                for r, words in enumerate(heard)
                if words != heard[0]
            ]
            if others:
                raise OptionError("gradient exchange", others)
        self._ranks, self._rank = ranks, rank

    def _exchange(self, bucket: distributed.GradBucket, done: torch.futures.Future[torch.Tensor]) -> Iterator[None]:
        """Exchange one bucket; pause after each collective is begun, so that another bucket's work can go on meanwhile."""
        import torch

        assert isinstance(self.format, EightBit)
        buffer, parameters, where = bucket.buffer(), list(bucket.parameters()), f"bucket {bucket.index()}"
        values = _float32(buffer)
        shards = Shards(self.format, len(values), self._ranks)
        if self.error_feedback:
            with np.errstate(over="ignore", invalid="ignore"):
                values = values + self._remembered(parameters, len(values))
        rows = shards.cut(values)
        others = [r for r in range(self._ranks) if r != self._rank]

        # every other rank gets its shard in codes; the own one stays here as it is
        sent, trouble = _packed(shards, {r: rows[r] for r in others}, _trouble(values, parameters))
        work, received = _scatter(shards, sent, self._rank, self.group)
        self.bytes_sent += len(others) * shards.message
        self.elements += shards.elements
        self.ring_bytes += shards.ring_bytes
        yield
        work.wait()
        messages = dict(zip(others, received.numpy().reshape(len(others), shards.message)))
        refusing = dict.fromkeys((r for r in others if shards.refused(messages[r])), ELSEWHERE)
        if trouble:
            refusing[self._rank] = trouble
        if refusing:
            self._refuse(where, refusing, buffer, done)
            return

        # the sum in the order of the ranks, divided, encoded once more: every rank, this one too, takes what the codes say
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.zeros(shards.length, dtype=np.float32)
            for r in range(self._ranks):
                total += rows[r] if r == self._rank else shards.unpack(messages[r])
            mean = total / np.float32(self._ranks)
        own, _ = _packed(shards, {self._rank: mean}, "")
        work, received = _gather(own[self._rank], self._ranks, self.group)
        self.bytes_sent += len(others) * shards.message
        yield
        work.wait()
        means = received.numpy().reshape(self._ranks, shards.message)
        refusing = dict.fromkeys((r for r in range(self._ranks) if shards.refused(means[r])), TOO_LARGE)
        if refusing:
            self._refuse(where, refusing, buffer, done)
            return
        result = torch.from_numpy(shards.joined(np.stack([shards.unpack(message) for message in means])))
        # a maximum that was rounded up to a power of two may be 65536, which float16 has not
        buffer.copy_(result.clamp(-HALF, HALF) if buffer.dtype == torch.float16 else result)
        if self.error_feedback:
            # others' shards: what the first codes lost; the own shard: what the second ones lost, for all ranks at once
            for r in others:
                rows[r] -= shards.unpack(sent[r])
            given = shards.cut(_float32(buffer))[self._rank]
            rows[self._rank] = total.astype(np.float64) - self._ranks * given.astype(np.float64)
            self._remember(parameters, shards.joined(rows))
        done.set_result(buffer)

    def _refuse(
        self, where: str, refusing: dict[int, str], buffer: torch.Tensor, done: torch.futures.Future[torch.Tensor]
    ) -> None:
        """Raise the same error on every rank, or let every rank have NaN; residuals stay what they were."""
        if self.nonfinite == "nan":
            buffer.fill_(float("nan"))
            done.set_result(buffer)
            return
        remedy = "look for the step that made them, or use nonfinite='nan' with a GradScaler"
        found = [Problem(f"{where}, rank {r}", why, remedy) for r, why in sorted(refusing.items())]
        raise InvalidDataError("gradient exchange", found)


def compressed_exchange(
    state: CompressedExchange, bucket: distributed.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    """Give the mean of a bucket's gradients over all ranks, exchanged in 8 bits: a hook for ``register_comm_hook``.

    Every rank gets the same bits. The network works on one bucket while the backward pass fills the next. Alone, a rank
    keeps its gradients as they are. Raises :class:`InvalidDataError` on every rank where one has NaN or ±∞ (unless
    ``nonfinite="nan"``), :class:`OptionError` where ranks use different options; PyTorch's own errors, such as those of a
    rank that went away, come through.
    """
    import torch

    try:
        if not state._ranks:
            state._greet()
        buffer = bucket.buffer()
        if (name := str(buffer.dtype).removeprefix("torch.")) not in TYPES:
            problem = Problem(
                f"bucket {bucket.index()}", f"gradients of type {name}", f"they may be {', '.join(TYPES)}"
            )
            raise InvalidDataError("gradient exchange", [problem])
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        if state._ranks == 1:
            state.elements += buffer.numel()
            done.set_result(buffer)
            return done
        # every rank begins its collectives in this same order, whatever the network does
        exchange = state._exchange(bucket, done)
        next(exchange)
        state._under_way[:] = [one for one in state._under_way if _goes_on(one)] + [exchange]
        while bucket.is_last() and state._under_way:
            state._under_way[:] = [one for one in state._under_way if _goes_on(one)]
    except BaseException:
        state._under_way.clear()
        raise
    return done


compressed_exchange.__annotations__ = {}  # DDP compares them with classes, and would refuse names that stand for those


def _goes_on(exchange: Iterator[None]) -> bool:
    """Take *exchange* to its next collective; tell whether there was one."""
    return next(exchange, exchange) is None


def _packed(shards: Shards, rows: dict[int, np.ndarray], trouble: str) -> tuple[dict[int, np.ndarray], str]:
    """Return a message for each of *rows*, and why all are refusals where they are: *trouble*, or what has no code."""
    if not trouble:
        try:
            return {r: shards.pack(row) for r, row in rows.items()}, ""
        except InvalidDataError as error:
            trouble = error.problems[0].why
    return dict.fromkeys(rows, shards.refusal()), trouble


def _trouble(values: np.ndarray, parameters: list[torch.Tensor]) -> str:
    """Return which of *parameters* have gradients that are not finite."""
    if np.isfinite(values).all():
        return ""
    found, first = [], 0
    for number, parameter in enumerate(parameters):
        part = values[first : first + parameter.numel()]
        first += parameter.numel()
        if lost := int(len(part) - np.isfinite(part).sum()):
            nan = int(np.isnan(part).sum())
            found.append(f"{nan} NaN and {lost - nan} infinite in parameter {number}, of shape {list(parameter.shape)}")
    return f"not finite: {'; '.join(found)}"


def _float32(tensor: torch.Tensor) -> np.ndarray:
    """Return *tensor* as float32 of the CPU; the same memory where it is that already."""
    import torch

    values: np.ndarray = tensor.detach().to("cpu", torch.float32).numpy()
    return values


def _zeros(parameter: torch.Tensor) -> np.ndarray:
    return np.zeros(parameter.numel(), dtype=np.float32)


def _scatter(
    shards: Shards, messages: dict[int, np.ndarray], rank: int, group: distributed.ProcessGroup | None
) -> tuple[distributed.Work, torch.Tensor]:
    """Begin to send each other rank its message; return the work, and what will hold theirs, in the order of the ranks."""
    import torch

    out = torch.from_numpy(np.concatenate(list(messages.values())))
    received = torch.empty_like(out)
    sizes = [shards.message if r != rank else 0 for r in range(shards.ranks)]
    return _distributed().all_to_all_single(received, out, sizes, sizes, group, async_op=True), received


def _gather(
    message: np.ndarray, ranks: int, group: distributed.ProcessGroup | None
) -> tuple[distributed.Work, torch.Tensor]:
    """Begin to send *message* to all; return the work, and what will hold those of all ranks."""
    import torch

    distributed, received = _distributed(), torch.empty(ranks * len(message), dtype=torch.uint8)
    # PyTorch 2.13 calls it so; before, it was all_gather_into_tensor
    gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
    return gather(received, torch.from_numpy(message), group, async_op=True), received


def _distributed() -> ModuleType:
    try:
        from torch import distributed
    except ImportError as error:
        raise ToolNotFoundError("PyTorch", "pip install 'approxhw[gradients]'") from error
    if not distributed.is_available():
        raise ToolNotFoundError("torch.distributed", "install a build of PyTorch that has it")
    return distributed
