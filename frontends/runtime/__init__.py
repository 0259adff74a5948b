"""onnxruntime: sessions, and the reference that a compiled model is compared with."""
