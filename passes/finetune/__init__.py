"""Training of the weights of a smaller model, so that it answers as the model did that it came from; PyTorch is an extra."""
