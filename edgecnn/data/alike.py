"""Whether training and device read alike: some training images go through the device's own way of reading.

It decides how a picture becomes pixels for models of a data set. MNIST's shape and the classes 0 to 9 are not enough to
look for a digit in a picture: clothes in a CSV have both, and so have digits that are black on white or fill their
frame. The device would change them, and the network see what it was never trained on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.data.watched import ReadObserver, unobserved
from edgecnn.device.contract import DIGIT, STRETCH, may_be_digits
from edgecnn.device.errors import ImageError
from edgecnn.device.preprocessing.canonical import canonical
from edgecnn.device.preprocessing.digit import SIDE
from edgecnn.device.preprocessing.sight import Sight, flat, sight_of
from edgecnn.errors import DataError

IMAGES = 200
LEAST_STAYED = 0.99
_SEED = 200  # fixed for ever: the same data must not be read in two ways

Pixels = NDArray[np.uint8]
Pictures = Sequence[Path] | Pixels


@dataclass(frozen=True)
class Reading:
    """How the device makes pixels of a picture, and how many images that was decided by.

    `picture` is `digit` or `stretch`. The digit finder was tried on `tried` training images, none where shape or
    classes say that there are no digits, and would have changed `changed` of them.
    """

    picture: str = STRETCH
    tried: int = 0
    changed: int = 0

    @property
    def may_surprise(self) -> bool:
        """Return whether shape and classes are MNIST's, and the images are not."""
        return self.picture == STRETCH and self.tried > 0

    def __str__(self) -> str:
        if not self.tried:
            return f"{STRETCH}: only images of {SIDE}x{SIDE}x1 in the classes 0 to 9 may be MNIST's digits"
        if self.picture == DIGIT:
            return f"{DIGIT}: {self.tried - self.changed} of {self.tried} images stay as they are in the digit finder"
        return f"{STRETCH}: {self.changed} of {self.tried} images would be changed by the digit finder"


STRETCHED = Reading()  # what is read so where nothing was tried


def compared(
    pictures: Pictures, images: Pixels, labels: Sequence[str], *, observe: ReadObserver = unobserved
) -> Reading:
    """Return how the device is to read `pictures`, files or uint8 [N, H, W, C], of which training has `images`.

    It is `digit` where at least `LEAST_STAYED` of `IMAGES` stay as they are, chosen by chance and always the same of
    the same data. Else pictures are stretched to the size of `images`, which must give the very same pixels; raises
    `DataError` where it does not. `observe` is called with (images compared, images in all).
    """
    chosen = np.sort(np.random.default_rng(_SEED).permutation(len(images))[:IMAGES])
    pairs = [(_given(pictures[int(i)]), flat(images[i])) for i in chosen]
    reading = _tried(pairs) if may_be_digits(images.shape[1:], labels) else STRETCHED
    if reading.picture == STRETCH:
        _check_stretched(pairs, images.shape[1:], observe)
    return reading


def _given(picture: Path | Pixels) -> Path | Pixels:
    """Return a picture as the device takes it: a file, or uint8 [H, W] or [H, W, 3]."""
    return picture if isinstance(picture, Path) else flat(picture)


def _tried(pairs: Sequence[tuple[Path | Pixels, Pixels]]) -> Reading:
    """Return what the digit finder makes of pictures beside the images that training has of them."""
    sight = sight_of((SIDE, SIDE, 1), digits=True)
    most = len(pairs) - math.ceil(LEAST_STAYED * len(pairs))
    changed, tried = 0, 0
    for picture, image in pairs:
        gray = _read(sight, picture if isinstance(picture, Path) else _gray(picture))
        tried += 1
        changed += not _stays(sight, gray, image)
        if changed > most and gray.shape != (SIDE, SIDE):
            break  # it is decided, and to find a digit in a photo takes up to a second
    return Reading(STRETCH if changed > most else DIGIT, tried, changed)


def _gray(picture: Pixels) -> Pixels:
    """Return the gray levels [H, W] of an array, as the device reads them from a file of it."""
    return np.asarray(Image.fromarray(picture).convert("L"))


def _stays(sight: Sight, gray: Pixels, image: Pixels) -> bool:
    """Return whether the digit finder makes `image` of a picture."""
    if gray.shape != (SIDE, SIDE):
        return np.array_equal(sight.see(gray)[0], image)
    found = canonical(gray)  # of this size what is not canonical is changed: no digit need be found to know that
    return found is not None and np.array_equal(found, image)


def _check_stretched(
    pairs: Sequence[tuple[Path | Pixels, Pixels]], shape: tuple[int, int, int], observe: ReadObserver
) -> None:
    """Raise `DataError` where a picture stretched to `shape` is not the image that training has of it."""
    sight = sight_of(shape, digits=False)
    stretched = lambda pair: sight.see(_read(sight, pair[0]))[0]  # noqa: E731
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for done, (pixels, (picture, image)) in enumerate(zip(threads.map(stretched, pairs), pairs, strict=True), 1):
            if not np.array_equal(pixels, image):
                raise _differs(picture, f"{(pixels != image).sum():,} of {pixels.size:,} levels differ")
            observe(done, len(pairs))


def _read(sight: Sight, picture: Path | Pixels) -> Any:
    """Return a picture as `sight` reads it; there is no limit to pixels but training's own."""
    try:
        return sight.read(picture, Image.MAX_IMAGE_PIXELS)
    except ImageError as error:
        raise _differs(picture, str(error)) from None


def _differs(picture: Path | Pixels, why: str) -> DataError:
    return DataError(
        f"{picture if isinstance(picture, Path) else 'an image'}: the device reads it otherwise than training did "
        f"({why}); was it changed meanwhile? load the data again"
    )
