"""Simulators: one file for one, and the registry by which all of approxhw knows them."""
