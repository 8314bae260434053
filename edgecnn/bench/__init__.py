"""Measure models: accuracy with its interval, latency, parity. Works on arrays and callables, whatever the runtime."""
