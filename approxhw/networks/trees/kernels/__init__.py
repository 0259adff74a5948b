"""Growing, polishing and searching trees over histograms of codes, in Numba; imported only when used."""

from approxhw.common.kernel_cache import forget_stale_kernels

forget_stale_kernels()
