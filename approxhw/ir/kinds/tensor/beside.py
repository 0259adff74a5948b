"""Large arrays beside a text: by digest, put there when it is written and fetched when it is read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, MutableMapping

import numpy as np

from approxhw.common.errors import shown

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


def spell_bytes(content: bytes, beside: Beside | None) -> str | dict[str, str]:
    """Return *content* as text (base64), or what stands in its place where it is large."""
    if beside is not None and len(content) > MOST_INLINE:
        return put(np.frombuffer(content, dtype=np.uint8), beside)
    return base64.b64encode(content).decode("ascii")


def stands_beside(value: object) -> bool:
    """Whether the JSON *value* says that an array stands beside the text."""
    return isinstance(value, dict) and set(value) == {"beside"}


def fetched(value: object, fetch: Fetch | None) -> np.ndarray:
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
