"""Fast forms of the interpreter's arithmetic, in Numba; imported only when used."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def forget_stale(folder: Path) -> int:
    """Remove what Numba cached of kernels in *folder* before any of its sources last changed; return how many indexes.

    Numba looks at the file of a function alone, not at those of the functions that it has inlined: a kernel that calls one
    of another file would go on as it was compiled, whatever has become of the other.
    """
    removed = 0
    with suppress(OSError):  # a read-only installation has no cache of its own
        newest = max((source.stat().st_mtime_ns for source in folder.glob("*.py")), default=0)
        for index in (folder / "__pycache__").glob("*.nbi"):
            if index.stat().st_mtime_ns < newest:
                index.unlink(missing_ok=True)
                removed += 1
    return removed


forget_stale(Path(__file__).parent)
