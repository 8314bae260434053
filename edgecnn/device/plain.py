"""Small plain pictures read with the standard library alone, so that a start need not wait for Pillow.

A digit that is cut out already is mostly such a file: a PGM, or a PNG of 8 bits in gray or RGB without transparency.
All else, and all that is damaged, is left to Pillow, which also says what is wrong with it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

Plain = tuple[int, int, bytes]  # width, height, and the gray levels row by row
_MOST_BYTES = 65_536
_MOST_PIXELS = 64 * 64  # Python undoes PNG's filters byte by byte
_PNG = b"\x89PNG\r\n\x1a\n"
_PGM = re.compile(rb"P5\s+(\d{1,4})\s+(\d{1,4})\s+255\s")
# Other chunks than these may change how the picture is shown; these Pillow's gray levels do not depend on.
_KNOWN = frozenset({b"IHDR", b"IDAT", b"IEND", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"gAMA", b"sRGB", b"cHRM"})
_GRAY, _RGB = 0, 2


def read_plain(path: Path) -> Plain | None:
    """Return the picture in `path`, or None for one that is not small and plain, or no readable file."""
    try:
        return decode_plain(path.read_bytes()) if path.stat().st_size <= _MOST_BYTES else None
    except OSError:
        return None


def decode_plain(content: bytes) -> Plain | None:
    """Return the picture in a file's `content`, or None; the levels are those that Pillow's conversion gives."""
    if found := _PGM.match(content):
        width, height, levels = int(found[1]), int(found[2]), content[found.end() :]
        return (width, height, levels) if 0 < len(levels) == width * height <= _MOST_PIXELS else None
    if not content.startswith(_PNG):
        return None
    try:
        return _png(dict(_merged(_chunks(content))))
    except (zlib.error, struct.error, KeyError):
        return None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of every chunk of a PNG file; raises KeyError for one that is damaged or not known."""
    place = len(_PNG)
    while place < len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        (check,) = struct.unpack_from(">I", content, place + 8 + length)
        if name not in _KNOWN or zlib.crc32(data, zlib.crc32(name)) != check:
            raise KeyError(name)
        yield name, data
        place += 12 + length


def _merged(chunks: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks with all image data, which may come in pieces, as one."""
    pieces = []
    for name, data in chunks:
        if name == b"IDAT":
            pieces.append(data)
        else:
            yield name, data
    yield b"IDAT", b"".join(pieces)


def _png(chunks: dict[bytes, bytes]) -> Plain | None:
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    is_plain = depth == 8 and color in (_GRAY, _RGB) and not (compression or filtering or interlace)
    if not is_plain or b"IEND" not in chunks or not 0 < width * height <= _MOST_PIXELS:
        return None
    samples = 3 if color == _RGB else 1
    size = height * (1 + width * samples)
    rows = zlib.decompressobj().decompress(chunks[b"IDAT"], size + 1)
    if len(rows) != size:
        return None
    pixels = _unfiltered(rows, width * samples, samples)
    return None if pixels is None else (width, height, _gray(pixels) if color == _RGB else bytes(pixels))


def _unfiltered(rows: bytes, stride: int, samples: int) -> bytearray | None:
    """Return the samples of all rows (PNG specification, 3rd edition, clause 9), or None for an unknown filter."""
    pixels = bytearray()
    above = bytearray(stride)
    for start in range(0, len(rows), stride + 1):
        how, line = rows[start], bytearray(rows[start + 1 : start + 1 + stride])
        if how > 4:
            return None
        for i in range(stride) if how else ():
            left, corner = (line[i - samples], above[i - samples]) if i >= samples else (0, 0)
            line[i] = (line[i] + _predicted(how, left, above[i], corner)) & 255
        pixels += line
        above = line
    return pixels


def _predicted(how: int, left: int, up: int, corner: int) -> int:
    if how == 1:
        return left
    if how == 2:
        return up
    if how == 3:
        return (left + up) // 2
    guess = left + up - corner  # Paeth's
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


def _gray(pixels: bytearray) -> bytes:
    """Return the luma of RGB samples (ITU-R 601-2) as Pillow rounds it."""
    colors = zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    return bytes((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16 for red, green, blue in colors)
