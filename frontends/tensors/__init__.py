"""What ONNX tensors are while a model is read: their values, and constants that are folded."""
