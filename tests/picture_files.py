"""Image files of every kind that people have, written for tests: turned ones by any sort of metadata, and odd modes."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
# What EXIF's orientations 1 to 8 do to stored pixels to show them upright, by numpy alone (EXIF 2.32, 4.6.4).
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


def scene(height: int = 24, width: int = 40) -> np.ndarray:
    """Return an RGB picture without any symmetry, smooth enough for JPEG: uint8 [height, width, 3]."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 40 + 150 * rows / height
    green = 30 + 200 * columns / width
    blue = np.where((rows < height // 3) & (columns < width // 4), 220, 60)
    return np.dstack([red, green, blue]).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)  # type: ignore[arg-type]
    return content.getvalue()


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found.tobytes()


def xmp(orientation: int, *, form: str = "attribute") -> bytes:
    said = {
        "attribute": f' tiff:Orientation="{orientation}">',
        "single quotes": f" tiff:Orientation = '{orientation}'>",
        "element": f"><tiff:Orientation>{orientation}</tiff:Orientation>",
    }
    return _XMP.format(said[form]).encode()


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(content: bytes, *chunks: bytes, behind: bool) -> bytes:
    """Return a PNG with more chunks: before its pixels, right after its head; or behind them, before its end."""
    place = len(content) - 12 if behind else 8 + 25
    return content[:place] + b"".join(chunks) + content[place:]


def xmp_chunk(packet: bytes) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def jpeg_with_xmp(content: bytes, packet: bytes) -> bytes:
    data = b"http://ns.adobe.com/xap/1.0/\0" + packet
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + content[2:]


def png_of_16_bits(levels: np.ndarray) -> bytes:
    """Return a PNG of uint16 [H, W, 3], which Pillow reads and does not write."""
    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
