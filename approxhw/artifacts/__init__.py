"""What stands on disk: designs, engines, fronts, steps of a pass list."""
