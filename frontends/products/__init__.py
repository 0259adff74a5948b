"""ONNX models cut at their matrix products: what an engine carries out, and what onnxruntime does."""
