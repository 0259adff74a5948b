"""Masked power-of-two networks over whole populations and data sets, in Numba; imported only when used."""

from approxhw.common.kernel_cache import forget_stale_kernels

forget_stale_kernels()
