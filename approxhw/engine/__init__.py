"""Matrix engines: a model's products on an array of multiply-adds, emulated, compiled, measured, searched."""
