"""Multipliers as such: what sources name, what is published of them, what they cost, the page and the folder of all that."""
