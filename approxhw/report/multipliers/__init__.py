"""The page of multipliers: a table, their errors as maps, and which of them none beats; geometry, and what templates draw."""
