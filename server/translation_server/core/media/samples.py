"""The contents of the server's own output files. They are made when they are first needed, always the same."""

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

from translation_server.core.media import h264, mp4
from translation_server.core.media.h264 import MACROBLOCK, Colour

COLUMNS, ROWS, BLOCK_ROW = 10, 6, 3  # in macroblocks: the size of the picture, and the row of the block that moves
PICTURES, PER_SECOND = 20, 10
BARS: tuple[tuple[int, int, int], ...] = (
    (191, 191, 191),
    (191, 191, 0),
    (0, 191, 191),
    (0, 191, 0),
    (191, 0, 191),
    (191, 0, 0),
    (0, 0, 191),
    (16, 16, 16),
    (64, 64, 64),
    (128, 128, 128),
)
"""The colours of the picture's columns, in RGB."""

WHITE: Colour = (235, 128, 128)
SOUND_RATE, SOUND_SECONDS, SOUND_PITCH, LOUDNESS = 8000, 2, 440, 8000
TEXT = "This is the output of a simulated job.\n"


@cache
def make_mp4() -> bytes:
    """Returns a video of two seconds, without sound: a block moves over bars of colours."""
    total, start = COLUMNS * ROWS, BLOCK_ROW * COLUMNS
    colours = [_yuv(BARS[position % COLUMNS]) for position in range(total)]
    pictures = [h264.key_picture([*colours[:start], WHITE, *colours[start + 1 :]])]
    for number in range(1, PICTURES):
        before, now = (start + (step % COLUMNS) for step in (number - 1, number))
        pictures.append(h264.changed_picture(number, total, {before: colours[before], now: WHITE}))
    size = COLUMNS * MACROBLOCK, ROWS * MACROBLOCK
    return mp4.video(size, PER_SECOND, h264.parameter_sets(COLUMNS, ROWS), pictures)


@cache
def make_wav() -> bytes:
    """Returns a tone of two seconds: 16 bits, one channel."""
    turn = 2 * math.pi * SOUND_PITCH / SOUND_RATE
    waves = [round(LOUDNESS * math.sin(turn * sample)) for sample in range(SOUND_RATE * SOUND_SECONDS)]
    samples = struct.pack(f"<{len(waves)}h", *waves)
    layout = struct.pack("<IHHIIHH", 16, 1, 1, SOUND_RATE, 2 * SOUND_RATE, 2, 16)
    chunks = b"fmt " + layout + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@cache
def make_png() -> bytes:
    """Returns an image of bars of colours."""
    line = b"".join(bytes(colour) * MACROBLOCK for colour in BARS)
    rows = (b"\0" + line) * (ROWS * MACROBLOCK)  # the zero: no filter
    header = struct.pack(">2I5B", COLUMNS * MACROBLOCK, ROWS * MACROBLOCK, 8, 2, 0, 0, 0)  # 8 bits of RGB
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def make_json() -> bytes:
    """Returns a document."""
    return json.dumps({"text": TEXT.strip(), "segments": [{"start": 0, "end": 2, "text": TEXT.strip()}]}).encode()


def make_text() -> bytes:
    """Returns a text."""
    return TEXT.encode()


SAMPLES: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "output.mp4": make_mp4,
        "output.wav": make_wav,
        "output.png": make_png,
        "output.json": make_json,
        "output.txt": make_text,
    }
)
"""The contents of the server's own files by their names."""


def _yuv(rgb: tuple[int, int, int]) -> Colour:
    """Returns a colour in the form of video (ITU-R BT.601)."""
    red, green, blue = (value / 255 for value in rgb)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return round(16 + 219 * luma), round(128 + 126.4 * (blue - luma)), round(128 + 159.7 * (red - luma))


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
