"""What runs a model on a board: which runtimes there are, which of them work, and one door to all."""
