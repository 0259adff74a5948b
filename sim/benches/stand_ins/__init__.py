"""Modules that the worker puts in the place of others, found before them: this folder stands first on its path."""
