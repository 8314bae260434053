"""SHA-256 without OpenSSL, which takes longer to load (4 ms here) than a model to be hashed."""

from __future__ import annotations

from typing import Any


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return _hasher()(content).hexdigest()  # type: ignore[no-any-return]


def _hasher() -> Any:
    """Return Python's own implementation, which `hashlib` keeps for want of OpenSSL, by its name in each version."""
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]  # since 3.12
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]  # 3.11
        except ImportError:  # it may be left out when Python is built
            from hashlib import sha256
    return sha256
