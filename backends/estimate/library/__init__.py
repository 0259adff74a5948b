"""Cell libraries: built-in tables, Liberty files, logic functions, delay tables."""
