"""An MP4 file (ISO/IEC 14496-12 and -15) with one H.264 video."""

import struct
from collections.abc import Sequence

TIMESCALE = 1000  # units of time per second
MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)  # neither turned nor scaled
SIZE_BYTES = 4  # how many bytes the size before a NAL unit has


def video(
    size: tuple[int, int], per_second: int, parameter_sets: tuple[bytes, bytes], pictures: Sequence[bytes]
) -> bytes:
    """Returns a file that plays from its first byte on: the index comes before the pictures.

    Args:
        size: width and height in pixels.
        per_second: how many pictures are shown in a second.
        parameter_sets: those of the sequence and of the pictures.
        pictures: each as one NAL unit, the first one a key picture.
    """
    samples = [struct.pack(">I", len(picture)) + picture for picture in pictures]
    beginning = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    offset = len(beginning) + len(_index(size, per_second, parameter_sets, samples, 0)) + 8
    index = _index(size, per_second, parameter_sets, samples, offset)
    return beginning + index + _box(b"mdat", *samples)


def _index(
    size: tuple[int, int], per_second: int, parameter_sets: tuple[bytes, bytes], samples: Sequence[bytes], offset: int
) -> bytes:
    """Returns the index of a file whose first sample is at an offset."""
    count, step = len(samples), TIMESCALE // per_second
    duration = count * step
    sizes = struct.pack(f">{count}I", *map(len, samples))
    table = _box(
        b"stbl",
        _full_box(b"stsd", struct.pack(">I", 1), _sample_entry(size, parameter_sets)),
        _full_box(b"stts", struct.pack(">3I", 1, count, step)),
        _full_box(b"stss", struct.pack(">2I", 1, 1)),  # the first sample is a key picture
        _full_box(b"stsc", struct.pack(">4I", 1, 1, count, 1)),  # all samples are in one chunk
        _full_box(b"stsz", struct.pack(">2I", 0, count), sizes),
        _full_box(b"stco", struct.pack(">2I", 1, offset)),
    )
    source = _box(b"dinf", _full_box(b"dref", struct.pack(">I", 1), _full_box(b"url ", flags=1)))
    information = _box(b"minf", _full_box(b"vmhd", bytes(8), flags=1), source, table)
    media = _box(
        b"mdia",
        _full_box(b"mdhd", struct.pack(">4I2H", 0, 0, TIMESCALE, duration, 0x55C4, 0)),  # no language
        _full_box(b"hdlr", struct.pack(">I4s12x", 0, b"vide"), b"video\0"),
        information,
    )
    width, height = size
    track = _full_box(
        b"tkhd",
        struct.pack(">5I8x4H", 0, 0, 1, 0, duration, 0, 0, 0, 0),
        MATRIX,
        struct.pack(">2I", width << 16, height << 16),
        flags=3,  # enabled, and part of the presentation
    )
    movie = _full_box(
        b"mvhd",
        struct.pack(">4IIH10x", 0, 0, TIMESCALE, duration, 0x10000, 0x100),
        MATRIX,
        bytes(24),
        struct.pack(">I", 2),  # the number of the next track
    )
    return _box(b"moov", movie, _box(b"trak", track, media))


def _sample_entry(size: tuple[int, int], parameter_sets: tuple[bytes, bytes]) -> bytes:
    sps, pps = parameter_sets
    configuration = _box(
        b"avcC",
        bytes([1]) + sps[1:4] + bytes([0b11111100 | SIZE_BYTES - 1, 0b11100000 | 1]),
        struct.pack(">H", len(sps)) + sps,
        bytes([1]) + struct.pack(">H", len(pps)) + pps,
    )
    resolution = 72 << 16
    picture = struct.pack(">6xH16x2H2I4xH32xHh", 1, *size, resolution, resolution, 1, 24, -1)
    return _box(b"avc1", picture, configuration)


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def _full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)
