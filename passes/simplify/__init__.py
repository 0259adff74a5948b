"""Passes that change no output: folding, dropping, narrowing."""
