"""Matrix engines of floating-point multiply-adds: compiled, searched, simulated, what they cost."""
