"""Logic: lists of gates, and what they compute."""
