"""Passes that trade accuracy for area."""
