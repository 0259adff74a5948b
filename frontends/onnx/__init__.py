"""ONNX classifiers -> Graph: load, fold, import node by node, lower to the IR's kinds."""
