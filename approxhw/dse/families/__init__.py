"""Families of circuits that a search knows beside masked networks, what their circuits cost, and how both become designs."""
