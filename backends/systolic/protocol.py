"""What the streams of an engine may break, as the bits of its port ``fault`` say it."""

FAULTS = (
    "a tile has more vectors than the memory holds",
    "a tile goes on from one of another number of vectors",
    "tlast of the weights is not with every COLUMNS-th word",
    "a tile goes on, and no chain is open",
    "tuser changes inside of a tile",
    "a chain begins, and the one before has not ended",
)
"""What the bits of the port ``fault`` say, lowest first; docs/matrix-engine-rtl.md has the protocol."""
