"""Kernels of logic, 64 rows a word, in Numba; imported only when used."""

from approxhw.common.kernel_cache import forget_stale_kernels

forget_stale_kernels()
