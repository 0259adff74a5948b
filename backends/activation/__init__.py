"""Activation units as circuits: instances of templates, and a module of their own."""
