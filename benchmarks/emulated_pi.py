"""The emulated Raspberry Pi (`make pi`) behind an sshd: what ssh runs there, runs in it."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.board import Board, wait_for_port
from edgecnn.pipeline.places import emulator_root

ROOT = emulator_root()
_RUN = Path(__file__).resolve().parents[1] / "deploy" / "pi" / "run.sh"
LACKS = [f"{tool} is not installed" for tool in ("proot", "qemu-aarch64-static", "mount") if shutil.which(tool) is None]
LACKS += [] if (ROOT / ".made-from").is_file() else [f"no emulated Raspberry Pi in {ROOT}; run: make pi"]
LACKS += [] if os.geteuid() == 0 else ["its root cannot be shown to another user without root's rights"]


@contextlib.contextmanager
def behind(board: Board) -> Iterator[None]:
    """Let every command that comes over ssh run in the emulated Pi, which sees the user's home as /board."""
    folder = board.config.parent
    shown = folder / "pi"
    shown.mkdir()
    # For the user may not look into root's cache.
    subprocess.run(["mount", "--bind", str(ROOT), str(shown)], check=True)
    try:
        shutil.copy(_RUN, folder / "run.sh")
        enter = folder / "enter"
        enter.write_text(
            "#!/bin/sh\nexport PI_PYTHONPATH=\n"
            f'exec {folder}/run.sh {shown} {board.home} sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        enter.chmod(0o755)
        with (folder / "sshd_config").open("a") as config:
            config.write(f"ForceCommand {enter}\n")
        board.server.send_signal(signal.SIGHUP)  # read it again
        time.sleep(0.5)
        wait_for_port(board.port)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(shown)], check=True)
