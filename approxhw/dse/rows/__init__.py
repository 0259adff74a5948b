"""The rows and inputs that a search is given: split, noted, and thinned where there are many."""
