"""Passes of models on integer engines: numbers become codes, products get an operator, what it costs is won back."""
