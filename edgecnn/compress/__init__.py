"""Make a trained network smaller: pruning, weight clustering and quantization-aware training, model -> model."""
