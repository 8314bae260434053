"""The options that say what a model made elsewhere takes, the same for `export`, `bench` and `adopt`.

`predict` has them too, by the board's own parser: `device.command_line`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def said(
    *,
    input_range: str | None,
    mean: str | None,
    std: str | None,
    channels: str | None,
    layout: str | None,
    labels: Path | None,
    logits: bool,
    picture: str | None,
) -> Said:
    """Return what is said of a model; raises `DeviceError` for what cannot be, before anything is loaded."""
    found = Said(
        input_range=input_range,
        mean=mean,
        std=std,
        channels=channels,
        layout=layout,
        labels=labels,
        logits=logits,
        picture=picture,
    )
    found.clues()
    return found
