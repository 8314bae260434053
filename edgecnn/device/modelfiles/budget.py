"""How much of a file may be looked at: a few damaged bytes must not cost minutes."""

from edgecnn.device.errors import DamagedError


class Budget:
    """Counts the parts of a file that are looked at.

    Parts of a file may share bytes, so that a small damaged one can name millions of them.
    """

    def __init__(self, parts: int) -> None:
        self._left = parts

    def spend(self, parts: int = 1) -> None:
        """Count some more; raises `DamagedError` when they are more than a network of images has."""
        self._left -= parts
        if self._left < 0:
            raise DamagedError("it names more parts than a network of images has")
