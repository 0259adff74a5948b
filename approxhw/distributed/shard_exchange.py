"""How a vector is cut into one shard a rank, and how a shard travels: its 8-bit codes, then its maxima, as plain bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import InvalidDataError, Problem
from approxhw.numerics.eight_bit.codes import Compressed, EightBit

REFUSED = 0x80
"""Code of −0, which no encoder emits: as a message's first byte it says that its sender has nothing it could encode."""


@dataclass(frozen=True)
class Shards:
    """A vector of ``elements`` float32 values, cut into ``ranks`` shards of equal length and sent in ``format``.

    Zeros fill the last shards up: at most ``ranks`` − 1 of them, since blocks need not divide a shard. Blocks begin anew in
    each shard.
    """

    format: EightBit
    elements: int
    ranks: int

    @property
    def length(self) -> int:
        """Values in a shard."""
        return -(-self.elements // self.ranks)

    @property
    def maxima(self) -> int:
        """Maxima that travel with a shard: one a block, none where they are fixed."""
        return 0 if self.format.maximum == "fixed" else self.format.blocks(self.length)

    @property
    def message(self) -> int:
        """Bytes of a shard under way: one a value, four a maximum."""
        return self.length + 4 * self.maxima

    @property
    def bytes_sent(self) -> int:
        """Bytes that a rank sends: a message to each other rank in the all-to-all, and again in the all-gather."""
        return 2 * (self.ranks - 1) * self.message

    @property
    def ring_bytes(self) -> float:
        """Bytes that a rank sends in a float32 ring all-reduce of the same vector: 8(n − 1)/n per element."""
        return 8 * (self.ranks - 1) / self.ranks * self.elements

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Return *values* (float32, ``[elements]``) as ``[ranks, length]``; row r is what rank r is to add up."""
        rows = np.zeros(self.ranks * self.length, dtype=np.float32)
        rows[: self.elements] = values
        return rows.reshape(self.ranks, self.length)

    def joined(self, rows: np.ndarray) -> np.ndarray:
        """Return the vector that :meth:`cut` cut into *rows*."""
        return rows.reshape(-1)[: self.elements]

    def pack(self, shard: np.ndarray) -> np.ndarray:
        """Return the message (uint8, ``[message]``) of a *shard* (float32, ``[length]``).

        Raises :class:`InvalidDataError` for values that have no code.
        """
        found = self.format.encode(shard, ragged=True, name="shard")
        if not self.maxima:
            return found.codes
        return np.concatenate([found.codes, found.maxima.astype("<f4").view(np.uint8)])

    def unpack(self, message: np.ndarray) -> np.ndarray:
        """Return the shard (float32, ``[length]``) that a *message* stands for.

        Raises :class:`InvalidDataError` for messages that :meth:`pack` cannot have made.
        """
        if message.dtype != np.uint8 or message.shape != (self.message,):
            why = f"it is {message.dtype} of shape {list(message.shape)}, not uint8 of shape [{self.message}]"
            remedy = "give every rank the same format and equally long vectors"
            raise InvalidDataError("gradient exchange", [Problem("message", why, remedy)])
        codes, rest = message[: self.length], message[self.length :]
        maxima = rest.copy().view("<f4").astype(np.float32) if self.maxima else np.ones(1, dtype=np.float32)
        return self.format.decode(Compressed(self.format, codes, maxima))

    def refusal(self) -> np.ndarray:
        """Return the message of a shard that cannot be encoded."""
        message = np.zeros(self.message, dtype=np.uint8)
        message[0] = REFUSED
        return message

    def refused(self, message: np.ndarray) -> bool:
        """Tell whether *message* is a :meth:`refusal`."""
        return int(message[0]) == REFUSED
