"""The intermediate representation: Graphs, their meaning, text, verifier, and the passes' manager."""
