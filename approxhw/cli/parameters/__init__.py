"""From the fields of dataclasses to the options of a command line, and back to the objects that were asked for."""
