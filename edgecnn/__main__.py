"""``python -m edgecnn`` is ``edgecnn``."""

from edgecnn.cli import main

if __name__ == "__main__":
    main()
