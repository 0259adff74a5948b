"""What operators of ONNX compute, in PyTorch."""
