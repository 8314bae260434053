"""Thin runners: each records what it measured as JSON beside itself; readme.py makes README's tables of them."""
