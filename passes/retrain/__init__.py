"""Passes that find new weights on training rows."""
