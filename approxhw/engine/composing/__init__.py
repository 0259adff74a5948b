"""Smaller forms of a whole model chosen layer by layer: shares of channels, ranks and core shapes, together, within bounds."""
