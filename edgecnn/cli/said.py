"""The options that say what a model made elsewhere takes, the same for `export`, `bench` and `adopt`.

`predict` has them too, by the board's own parser: `device.command_line`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.device.resolution import Said

InputRangeOption = Annotated[
    str | None,
    typer.Option(
        "--input-range",
        help="What pixels become for a model without a record: 0..1, -1..1, 0..255 or LOW..HIGH.",
        show_default=False,
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option("--mean", help="Or (pixel / 255 - mean) / std: the mean, one or one a channel.", show_default=False),
]
StdOption = Annotated[str | None, typer.Option("--std", help="And the standard deviation, alike.", show_default=False)]
ChannelsOption = Annotated[
    str | None, typer.Option("--channels", help="Order of its channels: gray, rgb or bgr.", show_default=False)
]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--layout", help="How a picture lies in its input: nhwc, nchw, hw, flat, or features.", show_default=False
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", help="The names of its classes in their order, one a line.", show_default=False),
]
LogitsOption = Annotated[bool, typer.Option("--logits", help="Its scores are logits.")]
PictureOption = Annotated[
    str | None,
    typer.Option(
        "--picture", help="Its pictures: digit (found, as MNIST's) or stretch (to its size).", show_default=False
    ),
]


_OPTIONS: dict[str, tuple[Any, Any]] = {  # by the fields of `Said`: the option, and what stands for not given
    "input_range": (InputRangeOption, None),
    "mean": (MeanOption, None),
    "std": (StdOption, None),
    "channels": (ChannelsOption, None),
    "layout": (LayoutOption, None),
    "labels": (LabelsOption, None),
    "logits": (LogitsOption, False),
    "picture": (PictureOption, None),
}


def takes_said(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with these options in the place of its parameter `stated`, which is given what they say.

    Raises `DeviceError` for what cannot be, before anything is loaded.
    """

    @wraps(command)
    def with_options(**given: Any) -> None:
        stated = Said(**{name: given.pop(name) for name in _OPTIONS})
        stated.clues()
        command(stated=stated, **given)

    signature = inspect.signature(command, eval_str=True)
    parameters = [
        own for one in signature.parameters.values() for own in (_parameters() if one.name == "stated" else [one])
    ]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_options


def _parameters() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=option, default=default)
        for name, (option, default) in _OPTIONS.items()
    ]
