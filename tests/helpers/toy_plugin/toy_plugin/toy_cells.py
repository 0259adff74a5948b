"""A cell library: a table beside this file."""

from pathlib import Path

LIBRARY = Path(__file__).parent / "toy.toml"
