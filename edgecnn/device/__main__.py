"""``python3 predict.pyz --model int8.tflite digit.png``: argparse, because a board has no typer."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edgecnn.device.errors import DeviceError, ModelError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, predict, print; return the exit code (0, or 2 for bad input)."""
    parser = argparse.ArgumentParser(prog="predict.pyz", description="Classify images with a TFLite or ONNX model.")
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--model", type=Path, help="default: the only .tflite or .onnx beside predict.pyz")
    parser.add_argument("--runtime", help="litert, tflite-runtime or ort; default: the first installed one that fits")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--segment", action="store_true", help="several digits on a page: a line, and a box, for each")
    parser.add_argument("--show", type=Path, metavar="DIR", help="folder (or FILE.png) for pictures of what was seen")
    parser.add_argument("--doctor", action="store_true", help="say what board this is, what works and what to install")
    options = parser.parse_args(arguments)
    if not options.images and not options.doctor:
        parser.error("the following arguments are required: IMAGE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be one that the terminal cannot show
    if options.doctor:
        return _doctor()
    try:
        # Heavy imports wait until the arguments are known to be good.
        from edgecnn.device.commands import predict_files

        for line in predict_files(
            options.images,
            model=options.model or _model_beside(Path(sys.argv[0]).resolve().parent),
            runtime=options.runtime,
            threads=options.threads,
            as_json=options.json,
            segment=options.segment,
            show=options.show,
        ):
            print(line, flush=True)
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed; run: pip install numpy pillow ai-edge-litert",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; say nothing more
    return 0


def _doctor() -> int:
    """Print what works on this machine; return 0 if an image can be predicted, else 2."""
    from edgecnn.device.doctor import examine

    lines, can_start = examine()
    print("\n".join(lines))
    return 0 if can_start else 2


def _model_beside(folder: Path) -> Path:
    found = sorted(path for suffix in ("tflite", "onnx") for path in folder.glob(f"*.{suffix}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"--model: not given, and {folder} holds {names}; expected exactly one .tflite or .onnx there")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
