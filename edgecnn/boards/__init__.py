"""Boards that are reached over the system's ssh: what they are, what is put there, and how that is undone."""
