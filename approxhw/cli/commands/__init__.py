"""The commands, one a file: the dataclass of its options, and the function that answers it."""
