"""Search for the best trade-offs of accuracy, size and speed: many short runs of the pipeline, chosen by Optuna.

space -> study -> driver -> executor -> worker -> trial, and front reads what came of it.
"""
