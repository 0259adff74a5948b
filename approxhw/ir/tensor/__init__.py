"""Graphs over whole tensors: what matrix engines read. Their kinds, their products, and how they are carried out."""
