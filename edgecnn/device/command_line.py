"""The command line of `predict.pyz` and of `edgecnn predict`: argparse, because a board has no typer."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from edgecnn.device.errors import DeviceError, ModelError
from edgecnn.device.resolution import Said

FindModel = Callable[[Path | None, str | None], Path]


def main(arguments: Sequence[str] | None = None, *, prog: str = "predict.pyz", find_model: FindModel) -> int:
    """Parse, predict, print; return the exit code: 0, 1 (a self-test differs), 2 (bad input) or 130 (Ctrl-C).

    `find_model` returns the model's file for what `--model` and `--runtime` say, either of them None if not given.
    """
    options = _options(_parser(prog), arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be one that the terminal cannot show
    try:
        return options.do(options, find_model)  # type: ignore[no-any-return]
    except DeviceError as error:
        _complain(error)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; run: pip install numpy pillow", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; say nothing more
        return 0
    except KeyboardInterrupt:
        return 130


def model_beside(model: Path | None, _: str | None) -> Path:
    """Return `model`, or the only model in the folder of the program that runs: a .tflite, .onnx, or C library."""
    if model is not None:
        return model
    from edgecnn.device.files import LIBRARY

    folder = _own_folder()
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
        epilog="Exit codes: 0 done, or ended by SIGTERM; 1 the self-test differs; 2 bad input; 130 Ctrl-C.",
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
    parser.add_argument("--stats", type=Path, metavar="FILE", help="count there what is met; warn when it drifts")
    parser.add_argument("--watch", type=Path, metavar="DIR", help="predict what is in a folder, and what arrives there")
    parser.add_argument(
        "--camera",
        nargs="?",
        const="0",
        metavar="N",
        help="predict a camera's frames: 0, 1, /dev/video0, or a video file; by picamera2 or OpenCV; default: 0",
    )
    parser.add_argument(
        "--serve",
        nargs="?",
        const="127.0.0.1:8000",
        metavar="HOST:PORT",
        help="answer there with a page to draw on and a JSON API; default: 127.0.0.1:8000",
    )
    add_said(parser)
    parser.add_argument("--doctor", action="store_true", help="say what board this is, what works and what to install")
    parser.add_argument(
        "--self-test",
        nargs="?",
        type=Path,
        const=_own_folder(),
        metavar="BUNDLE",
        help="check a bundle's files, and that its scores are the workstation's; default: where predict.pyz lies",
    )
    return parser


def add_said(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a model made elsewhere takes."""
    group = parser.add_argument_group("what a model without a record takes")
    group.add_argument("--input-range", metavar="LOW..HIGH", help="what pixels become: 0..1, -1..1, 0..255")
    group.add_argument(
        "--mean", metavar="M[,M,M]", help="or (pixel / 255 - mean) / std: the mean, one or one a channel"
    )
    group.add_argument("--std", metavar="S[,S,S]", help="and the standard deviation")
    group.add_argument("--channels", metavar="ORDER", help="gray, rgb or bgr")
    group.add_argument("--layout", metavar="LAYOUT", help="nhwc, nchw, hw, flat, or features: no picture")
    group.add_argument("--labels", type=Path, metavar="FILE", help="the names of the classes, one a line")
    group.add_argument("--logits", action="store_true", help="scores are logits: a softmax is taken")
    group.add_argument("--picture", metavar="WAY", help="digit (found in the picture) or stretch (the whole of it)")


def said_in(options: argparse.Namespace) -> Said:
    """Return what is said of the model."""
    return Said(**{name: getattr(options, name) for name in Said.__dataclass_fields__})


def _options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, `do` among them: what they ask for; exits with one line for what does not go together."""
    options = parser.parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    asked = [name for name in _TO_DO if getattr(options, name) not in (None, False)]
    given = [f"--{name.replace('_', '-')}" for name in asked]
    if len(given) > 1 or (given and options.images):
        parser.error(f"{given[0]} and {given[1] if len(given) > 1 else options.images[0]}; give one of them")
    if not given and not options.images:
        parser.error("no images given; give one or more files")
    if options.camera is not None and options.segment:
        parser.error("--camera reads one digit a frame; leave --segment out")
    if options.serve is not None and (options.segment or options.json or options.show is not None):
        parser.error("--serve is told by each request what to do; leave --segment, --json and --show out")
    options.do = _TO_DO[asked[0]] if asked else _predict
    return options


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with numbers that begin with a minus joined to their option: argparse takes them for one."""
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] in ("--input-range", "--mean", "--std") and argument[:1] == "-":
            found[-1] += f"={argument}"
        else:
            found.append(argument)
    return found


def _predict(options: argparse.Namespace, find_model: FindModel) -> int:
    # Heavy imports wait until the arguments are known to be good.
    from edgecnn.device.commands import predict_files

    for line in predict_files(options.images, segment=options.segment, **_shared(options, find_model)):
        print(line, flush=True)
    return 0


def _watch(options: argparse.Namespace, find_model: FindModel) -> int:
    from edgecnn.device.commands import watch_folder
    from edgecnn.device.stop import stopping

    shared = _shared(options, find_model)
    with stopping() as stop:
        for said in watch_folder(options.watch, segment=options.segment, stop=stop, **shared):
            if isinstance(said, DeviceError):
                _complain(said)
            else:
                print(said, flush=True)
    return stop.exit_code


def _camera(options: argparse.Namespace, find_model: FindModel) -> int:
    from edgecnn.device.commands import watch_camera
    from edgecnn.device.stop import stopping

    with stopping() as stop:
        for line in watch_camera(options.camera, stop=stop, **_shared(options, find_model)):
            print(line, flush=True)
    return stop.exit_code


def _serve(options: argparse.Namespace, find_model: FindModel) -> int:
    from edgecnn.device.commands import serve_predictions

    shared = _shared(options, find_model)
    del shared["as_json"], shared["show"]
    return serve_predictions(options.serve, say=lambda line: print(line, flush=True), **shared)


def _shared(options: argparse.Namespace, find_model: FindModel) -> dict[str, Any]:
    """Return what is the same whatever is predicted."""
    return {
        "model": find_model(options.model, options.runtime),
        "runtime": options.runtime,
        "threads": options.threads,
        "as_json": options.json,
        "show": options.show,
        "stats": options.stats,
        "said": said_in(options),
        "warn": lambda line: print(f"warning: {line}", file=sys.stderr),
    }


def _self_test(options: argparse.Namespace, _: FindModel) -> int:
    from edgecnn.device.selftest import self_test

    for line in self_test(options.self_test, runtime=options.runtime, threads=options.threads):
        print(line, flush=True)
    return 0


def _own_folder() -> Path:
    """Return the folder of the program that runs."""
    return Path(sys.argv[0]).resolve().parent


def _doctor(_: argparse.Namespace, __: FindModel) -> int:
    """Print what works on this machine; return 0 if an image can be predicted, else 2."""
    from edgecnn.device.runtimes.doctor import examine

    lines, can_start = examine()
    print("\n".join(lines))
    return 0 if can_start else 2


def _complain(error: DeviceError) -> None:
    print(f"error: {error}", file=sys.stderr, flush=True)


# By option; without any of them, images are predicted.
_TO_DO = {"doctor": _doctor, "self_test": _self_test, "watch": _watch, "camera": _camera, "serve": _serve}
