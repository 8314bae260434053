"""Render records and measurements: table, markdown, model card."""
