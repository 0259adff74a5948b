"""Families of small classifiers that are learnt on codes: one table of recipes, what fits them, and their Graphs."""
