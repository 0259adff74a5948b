"""8-bit codes on the wire: the gradient hook for PyTorch, and what links make of it."""
