"""Engines of multiply-adds, a room for each target, and the rows that all of them look at."""
