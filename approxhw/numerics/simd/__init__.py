"""Lane-wise operations that LLVM vectorises, as Numba intrinsics: shared by all kernels."""

from approxhw.common.kernel_cache import forget_stale_kernels

forget_stale_kernels()
