"""A minimal H.264 encoder (ITU-T H.264), which every player understands: Constrained Baseline, without compression.

Theory of operation: a picture consists of macroblocks of 16 by 16 pixels. Each macroblock is either sent raw (`I_PCM`)
or skipped, which repeats it from the picture before. So the encoder needs no transform and no prediction, and a
picture in which little changes is small. Each macroblock has one colour here.
"""

import re
from collections.abc import Mapping, Sequence

MACROBLOCK = 16  # the width and height of a macroblock in pixels
FRAME_NUMBERS = 16  # after this many pictures, frame numbers start again
SPS, PPS, IDR, P = 0x67, 0x68, 0x65, 0x41  # the headers of NAL units: their kind, and that they are needed
I_SLICE, P_SLICE = 7, 5  # the kinds of slices, which say that all slices of the picture are of this kind
RAW_IN_I, RAW_IN_P = 25, 30  # the numbers of I_PCM among the kinds of macroblocks in either slice
LEVEL = 30  # level 3.0
ESCAPED = re.compile(rb"\x00\x00(?=[\x00-\x03])")

Colour = tuple[int, int, int]  # luma and the two chroma values, 16 to 235 and 16 to 240


def parameter_sets(columns: int, rows: int) -> tuple[bytes, bytes]:
    """Returns the sequence and the picture parameter set of pictures with this many macroblocks."""
    sps = _Bits()
    sps.write(66, 8)  # profile: Baseline
    sps.write(0b11000000, 8)  # constrained
    sps.write(LEVEL, 8)
    sps.exp_golomb(0, 0, 2, 1)  # id; frame numbers of 4 bits; pictures are shown in their order; one reference
    sps.write(0, 1)  # no gaps in frame numbers
    sps.exp_golomb(columns - 1, rows - 1)
    sps.write(0b1100, 4)  # frames, no fields; 8x8 inference; no cropping; no usability information
    pps = _Bits()
    pps.exp_golomb(0, 0)  # its id, and that of the sequence
    pps.write(0, 2)  # CAVLC; no order of fields
    pps.exp_golomb(0, 0, 0)  # one slice group, one reference in either list
    pps.write(0, 3)  # no weighted prediction
    pps.exp_golomb(0, 0, 0)  # quantisation, which raw macroblocks do not use
    pps.write(0b100, 3)  # slices can turn the deblocking filter off
    return _nal_unit(SPS, sps), _nal_unit(PPS, pps)


def key_picture(colours: Sequence[Colour]) -> bytes:
    """Returns a picture of its own; ``colours`` are those of its macroblocks, row by row."""
    bits = _Bits()
    bits.exp_golomb(0, I_SLICE, 0)  # first macroblock, kind, parameter set
    bits.write(0, 4)  # frame number
    bits.exp_golomb(0)  # number of the key picture
    bits.write(0, 2)  # earlier pictures are shown; this is no long-term reference
    bits.exp_golomb(0, 1)  # quantisation; no deblocking filter
    for colour in colours:
        bits.exp_golomb(RAW_IN_I)
        bits.raw(colour)
    return _nal_unit(IDR, bits)


def changed_picture(number: int, total: int, changes: Mapping[int, Colour]) -> bytes:
    """Returns a picture that differs from the one before in some of its macroblocks.

    Args:
        number: how many pictures came after the key picture, with this one.
        total: how many macroblocks it has.
        changes: the new colours, by the number of their macroblock.
    """
    bits, done = _Bits(), 0
    bits.exp_golomb(0, P_SLICE, 0)
    bits.write(number % FRAME_NUMBERS, 4)
    bits.write(0, 3)  # default references, in default order, which stay as long as there is room
    bits.exp_golomb(0, 1)
    for position in sorted(changes):
        bits.exp_golomb(position - done, RAW_IN_P)  # how many are skipped
        bits.raw(changes[position])
        done = position + 1
    if done < total:
        bits.exp_golomb(total - done)
    return _nal_unit(P, bits)


def _nal_unit(header: int, bits: "_Bits") -> bytes:
    """Returns a NAL unit. Bytes that look like a start code are escaped."""
    return bytes([header]) + ESCAPED.sub(b"\x00\x00\x03", bits.end())


class _Bits:
    """Collects bits, the highest of each byte first."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._bits = ""

    def write(self, value: int, length: int) -> None:
        """Adds a number with this many bits."""
        self._bits += f"{value:0{length}b}"

    def exp_golomb(self, *values: int) -> None:
        """Adds numbers in Exp-Golomb code, in which small numbers are short."""
        for value in values:
            binary = f"{value + 1:b}"
            self._bits += "0" * (len(binary) - 1) + binary

    def raw(self, colour: Colour) -> None:
        """Adds the samples of a macroblock: one luma value per pixel, and a quarter as many of either chroma."""
        self._align()
        luma, *chroma = colour
        self._bytes += bytes([luma]) * MACROBLOCK**2
        for value in chroma:
            self._bytes += bytes([value]) * (MACROBLOCK**2 // 4)

    def end(self) -> bytes:
        """Adds the stop bit, and returns everything as bytes."""
        self.write(1, 1)
        self._align()
        return bytes(self._bytes)

    def _align(self) -> None:
        for start in range(0, len(self._bits), 8):
            self._bytes.append(int(self._bits[start : start + 8].ljust(8, "0"), 2))
        self._bits = ""
