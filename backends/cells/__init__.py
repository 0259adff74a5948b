"""Cells that circuits are made of: instances of templates, bit by bit, tables and activation units."""
