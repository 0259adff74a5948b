"""What numbers mean: formats, product tables, multiply-adds, 8-bit codes, each beside its kernel."""
