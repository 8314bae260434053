"""Small plain pictures read with the standard library alone, so that a start need not wait for Pillow.

A digit that is cut out already is mostly such a file: a PGM, a PNG of 8 bits, or the 28x28 pixels alone in a .raw file.
All else, and all that is damaged, is left to Pillow, which also says what is wrong with it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecnn.device.preprocessing.digit import SIDE

Plain = tuple[int, int, bytes]  # width, height, and the gray levels row by row
_MOST_BYTES = 65_536
_MOST_PIXELS = 64 * 64  # Python undoes PNG's filters byte by byte
_PNG = b"\x89PNG\r\n\x1a\n"
_PGM = re.compile(rb"P([25])\s+(\d{1,4})\s+(\d{1,4})\s+255\s")
# Other chunks than these may change how the picture is shown; these Pillow's gray levels do not depend on.
_KNOWN = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"gAMA", b"sRGB", b"cHRM"}
)
# Of PNG: how many samples a pixel of each color type has.
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}


def read_plain(path: Path, *, opaque: bool = False) -> Plain | None:
    """Return the picture in `path`, or None for one that is not small and plain, or no readable file.

    Where it must be `opaque`, one that may be transparent is none either: only for digits is paper put behind it.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    if path.suffix == ".raw":
        return (SIDE, SIDE, content) if len(content) == SIDE * SIDE else None
    return decode_plain(content, opaque=opaque)


def decode_plain(content: bytes, *, opaque: bool = False) -> Plain | None:
    """Return the picture in a file's `content`, or None; the levels are those that Pillow's conversion gives."""
    if found := _PGM.match(content):
        width, height, levels = int(found[2]), int(found[3]), content[found.end() :]
        levels = levels if found[1] == b"5" else _written_out(levels)
        return (width, height, levels) if 0 < len(levels) == width * height <= _MOST_PIXELS else None
    if not content.startswith(_PNG):
        return None
    try:
        return _png(dict(_merged(_chunks(content))), opaque)
    except (zlib.error, struct.error, KeyError):
        return None


def _written_out(text: bytes) -> bytes:
    """Return the levels of a P2, which are written in digits; none where there is anything else."""
    values = [int(word) if word.isdigit() and len(word) < 4 else -1 for word in text.split()]
    return bytes(values) if values and min(values) >= 0 and max(values) <= 255 else b""


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


def _png(chunks: dict[bytes, bytes], opaque: bool) -> Plain | None:
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    is_plain = depth == 8 and color in _SAMPLES and not (compression or filtering or interlace)
    is_plain = is_plain and not (opaque and color in (_GRAY_ALPHA, _RGB_ALPHA))
    if not is_plain or b"IEND" not in chunks or not 0 < width * height <= _MOST_PIXELS:
        return None
    samples = _SAMPLES[color]
    size = height * (1 + width * samples)
    rows = zlib.decompressobj().decompress(chunks[b"IDAT"], size + 1)
    if len(rows) != size:
        return None
    pixels = _unfiltered(rows, width * samples, samples)
    levels = None if pixels is None else _levels(pixels, color, chunks)
    return None if levels is None else (width, height, levels)


def _levels(pixels: bytearray, color: int, chunks: dict[bytes, bytes]) -> bytes | None:
    """Return the gray levels of unfiltered samples; None where a color is not in the palette."""
    if color == _GRAY:
        return bytes(pixels)
    if color == _RGB:
        return _gray(pixels)
    if color == _PALETTE:
        palette = _gray(bytearray(chunks[b"PLTE"]))
        return bytes(pixels.translate(palette.ljust(256, b"\0"))) if max(pixels) < len(palette) else None
    if color == _GRAY_ALPHA:
        return _on_paper(pixels[::2], pixels[1::2])
    colors = bytearray(len(pixels) // 4 * 3)
    for channel in range(3):
        colors[channel::3] = pixels[channel::4]
    return _on_paper(_gray(colors), pixels[3::4])


def _on_paper(levels: Sequence[int], alpha: Sequence[int]) -> bytes:
    """Return gray levels with paper behind, white or black, as `pictures` chooses and rounds it."""
    weighted = sum(level * share for level, share in zip(levels, alpha, strict=True))
    is_light_drawing = 2 * alpha.count(0) > len(alpha) and weighted > 128 * sum(alpha)
    paper = 0 if is_light_drawing else 255
    # No half is ever rounded: 255 is odd.
    return bytes(round(paper + (level - paper) * share / 255) for level, share in zip(levels, alpha, strict=True))


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
