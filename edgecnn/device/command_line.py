"""The command line of `predict.pyz` and of `edgecnn predict`: argparse, because a board has no typer."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from edgecnn.device.errors import DeviceError, ModelError

FindModel = Callable[[Path | None, str | None], Path]


def main(arguments: Sequence[str] | None = None, *, prog: str = "predict.pyz", find_model: FindModel) -> int:
    """Parse, predict, print; return the exit code (0, or 2 for bad input).

    `find_model` returns the model's file for what `--model` and `--runtime` say, either of them None if not given.
    """
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if not options.images and not options.doctor:
        parser.error("no images given; give one or more files")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be one that the terminal cannot show
    if options.doctor:
        return _doctor()
    try:
        _predict(options, find_model)
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; run: pip install numpy pillow ai-edge-litert", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; say nothing more
    return 0


def model_beside(model: Path | None, _: str | None) -> Path:
    """Return `model`, or the only model in the folder of the program that runs: a .tflite, .onnx, or C library."""
    if model is not None:
        return model
    from edgecnn.device.files import LIBRARY

    folder = Path(sys.argv[0]).resolve().parent
    found = sorted(path for suffix in ("tflite", "onnx") for path in folder.glob(f"*.{suffix}"))
    if not found and (folder / LIBRARY).is_file():
        return folder / LIBRARY
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"--model: not given, and {folder} holds {names}; expected exactly one .tflite or .onnx there")
    return found[0]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see: {self.prog} --help\n")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description="Classify images with a TFLite or ONNX model.",
        allow_abbrev=False,
        # The terminal's width, which argparse asks for at every start, would import shutil and with it bz2 and lzma.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100),
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="PNG, JPEG, ...")
    where = "the only one beside predict.pyz" if prog == "predict.pyz" else "int8 of the latest run, else edge35k"
    parser.add_argument("--model", type=Path, metavar="FILE", help=f".tflite, .onnx or libmodel.so; default: {where}")
    parser.add_argument("--runtime", help="c, litert, tflite-runtime or ort; default: the first of them that fits")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the runtime; default: 1")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--segment", action="store_true", help="several digits on a page: a line, and a box, for each")
    parser.add_argument("--show", type=Path, metavar="DIR", help="folder (or FILE.png) for pictures of what was seen")
    parser.add_argument("--doctor", action="store_true", help="say what board this is, what works and what to install")
    return parser


def _predict(options: argparse.Namespace, find_model: FindModel) -> None:
    # Heavy imports wait until the arguments are known to be good.
    from edgecnn.device.commands import predict_files

    for line in predict_files(
        options.images,
        model=find_model(options.model, options.runtime),
        runtime=options.runtime,
        threads=options.threads,
        as_json=options.json,
        segment=options.segment,
        show=options.show,
    ):
        print(line, flush=True)


def _doctor() -> int:
    """Print what works on this machine; return 0 if an image can be predicted, else 2."""
    from edgecnn.device.doctor import examine

    lines, can_start = examine()
    print("\n".join(lines))
    return 0 if can_start else 2
