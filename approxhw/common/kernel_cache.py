"""Keep Numba's cache true: drop what was compiled before any source that a kernel may have inlined last changed."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
SOURCES = ("**/_kernel*.py", "**/kernels/**/*.py", "**/simd/*.py")
"""Where kernels stand, below the package (docs/architecture.md)."""


def forget_stale(folder: Path, sources: tuple[str, ...] = ("*.py",)) -> int:
    """Remove what Numba cached below *folder* before any of the *sources* in it last changed; return how many indexes.

    Numba looks at the file of a function alone, not at those of the functions that it has inlined: a kernel that calls one
    of another file would go on as it was compiled, whatever has become of the other.
    """
    removed = 0
    with suppress(OSError):  # a read-only installation has no cache of its own
        found = [source for pattern in sources for source in folder.glob(pattern)]
        newest = max((source.stat().st_mtime_ns for source in found), default=0)
        for index in folder.glob("**/__pycache__/*.nbi"):
            if index.stat().st_mtime_ns < newest:
                index.unlink(missing_ok=True)
                removed += 1
    return removed


@functools.cache
def forget_stale_kernels() -> int:
    """Do so once a process for every kernel of the package; each folder of kernels calls it when it is first imported."""
    return forget_stale(PACKAGE, SOURCES)
