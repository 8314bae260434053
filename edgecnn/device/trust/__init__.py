"""Whether to trust a prediction, and whether what comes in is still what the model knows."""
