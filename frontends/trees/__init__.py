"""Tree ensembles of ONNX: their tables of nodes, what they decide by, and thresholds in front of scalers."""
