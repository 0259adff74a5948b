"""The commands about 8-bit codes of floats: models that are stored in them, their circuits, links that carry them."""
