"""Make a trained network smaller: magnitude pruning and quantization-aware training, model -> model."""
