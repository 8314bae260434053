"""Exporters: a Keras model in, the bytes of a file for the board out. They write nothing themselves."""
