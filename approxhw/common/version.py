"""The version of approxhw; a file of its own, so that nothing on the ground floor imports the front door."""

__version__ = "0.1.0"
