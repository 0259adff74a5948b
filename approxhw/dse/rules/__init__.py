"""The written rules by which one circuit is chosen: among members of a front, and among recipes for circuits."""
