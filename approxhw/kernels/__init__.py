"""Fast forms of the interpreter's arithmetic, in Numba; imported only when used."""
