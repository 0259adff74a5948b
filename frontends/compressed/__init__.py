"""ONNX models with their weights as 8-bit codes: choosing tensors, decoding nodes, sizes."""
