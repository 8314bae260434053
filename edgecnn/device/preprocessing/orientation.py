"""Which way up a picture is: what its file says of that, read by one function for training and for the device.

A camera does not turn its pixels, it notes how it was held: in EXIF (of JPEG, WebP and PNG), in TIFF's own tag, or in
XMP. Pillow's `exif_transpose` is not used: what that reads depends on Pillow's version (XMP of a JPEG since 11.0 only;
a TIFF it turned twice), so that a board would turn pictures otherwise than training did.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from itertools import dropwhile
from typing import IO, Any

from PIL import Image, ImageFile

_TAG = 0x0112  # of EXIF and TIFF (TIFF 6.0, section 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_ON_ITS_SIDE = 5  # from this one on height and width are exchanged
_EXIF_TEXT = "Raw profile type exif"  # how ImageMagick keeps EXIF in a PNG
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*(\d+)""")
_XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_SIGNATURE_BYTES = 8
_PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def upright(image: Image.Image) -> Image.Image:
    """Return an image just opened as it is meant to be seen: decoded, and turned where its file says so."""
    image.load()  # a PNG may say it behind its pixels
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return width and height that `upright` gives of an image just opened; it is decoded only where it must be."""
    width, height = image.size
    if width == height:
        return width, height
    if image.format == "PNG" and image.fp is not None and _has_metadata_behind_pixels(image.fp):
        image.load()
    return (height, width) if _orientation(image) >= _FIRST_ON_ITS_SIDE else (width, height)


def _orientation(image: Image.Image) -> int:
    """Return 1 (upright) to 8, as EXIF says, else XMP; 1 where neither does, or says what is no orientation."""
    if image.format == "TIFF":
        return 1  # every Pillow turns it itself, by its tag
    said = _in_exif(image)
    if said is None:
        said = _in_xmp(image)
    return said if said in _TURNS else 1


def _in_exif(image: Image.Image) -> Any:
    if "exif" not in image.info and _EXIF_TEXT not in image.info:
        return None  # to ask all the same would have Pillow decode a PNG
    try:
        return image.getexif().get(_TAG)
    except Exception:  # Pillow raises almost anything for damaged EXIF; viewers then show the picture as it is stored
        return None


def _in_xmp(image: Image.Image) -> int | None:
    packets = [image.info.get(name, b"") for name in ("xmp", "XML:com.adobe.xmp")]
    packets += [data for _, data in getattr(image, "applist", ()) if data.startswith(_XMP_OF_JPEG)]
    for packet in packets:
        if found := _XMP.search(packet.encode() if isinstance(packet, str) else packet):
            return int(found[1])
    return None


def _has_metadata_behind_pixels(file: IO[bytes]) -> bool:
    """Return whether an open PNG has chunks behind its pixels that may say which way up it is."""
    place = file.tell()
    behind = dropwhile(lambda name: name != b"IDAT", _chunk_names(file))
    is_there = any(name in _PNG_METADATA for name in behind)
    file.seek(place)
    return is_there


def _chunk_names(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the names of a PNG's chunks in their order; what is in them is passed over."""
    file.seek(_PNG_SIGNATURE_BYTES)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        yield name
        file.seek(length + 4, os.SEEK_CUR)  # a check sum ends it
