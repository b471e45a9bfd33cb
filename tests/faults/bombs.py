"""Files that claim what is not so: each a few hundred kB at most, and none a FITS file that anybody should believe."""

from __future__ import annotations

import gzip
import itertools
import zlib

import numpy as np


def block(data, fill=b"\0"):
    """Fill up to whole blocks."""
    return data.ljust(-(-len(data) // 2880) * 2880, fill)


def header(*cards):
    """Return the blocks of a header; a card is a text, or a keyword and its value."""
    lines = [card if isinstance(card, str) else _card(*card) for card in (*cards, "END")]
    return block("".join(line.ljust(80) for line in lines).encode("latin1"), b" ")


def _card(keyword, value):
    if isinstance(value, bool):
        return f"{keyword:8s}= {'T' if value else 'F':>20s}"
    return f"{keyword:8s}= '{value:8s}'" if isinstance(value, str) else f"{keyword:8s}= {value:20d}"


PRIMARY = header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0))


def extension(kind, bitpix, axes, *more, pcount=0, gcount=1):
    """Return the header of an extension that is called SCI."""
    lengths = [(f"NAXIS{n}", length) for n, length in enumerate(axes, 1)]
    counts = [("PCOUNT", pcount), ("GCOUNT", gcount), ("EXTNAME", "SCI")]
    return header(("XTENSION", kind), ("BITPIX", bitpix), ("NAXIS", len(axes)), *lengths, *counts, *more)


def table(rows, width, forms, *more, pcount=0, fields=None):
    """Return the header of a binary table."""
    columns = [((f"TTYPE{n}", f"C{n}"), (f"TFORM{n}", form)) for n, form in enumerate(forms, 1)]
    fields = len(forms) if fields is None else fields
    cards = [("TFIELDS", fields), *itertools.chain(*columns), *more]
    return extension("BINTABLE", 8, (width, rows), *cards, pcount=pcount)


def text_table(form, start):
    """Return a table of text with one column."""
    cards = [("TFIELDS", 1), ("TTYPE1", "A"), ("TFORM1", form), ("TBCOL1", start)]
    return PRIMARY + extension("TABLE", 8, (8, 10), *cards) + block(b" " * 80)


def pair(count, offset):
    """Return a descriptor of a column of variable length."""
    return np.array([count, offset], ">i4").tobytes()


def of_variable_length(count, offset, *more):
    """Return a table with one such column of one row, and 100 bytes of heap."""
    return PRIMARY + table(1, 8, ["1PJ(9)"], *more, pcount=100) + block(pair(count, offset) + bytes(100))


def tiles(codec="RICE_1", *, shape=(10, 10), tile=(10, 1), rows=10, bitpix=16, data=bytes(20), more=()):
    """Return an image in tiles, all with the same bytes."""
    body = b"".join(pair(len(data), len(data) * row) for row in range(rows)) + data * rows
    axes = [(f"ZNAXIS{n}", length) for n, length in enumerate(shape, 1)]
    steps = [(f"ZTILE{n}", length) for n, length in enumerate(tile, 1)]
    kind = [("ZIMAGE", True), ("ZCMPTYPE", codec), ("ZBITPIX", bitpix), ("ZNAXIS", len(shape))]
    cards = [("TFIELDS", 1), ("TTYPE1", "COMPRESSED_DATA"), ("TFORM1", "1PB(99)"), *kind, *axes, *steps, *more]
    return PRIMARY + extension("BINTABLE", 8, (8, rows), *cards, pcount=len(data) * rows) + block(body)


def hcompress(nx, ny, planes=(1, 1, 1), length=80):
    """Return the beginning of a stream of HCOMPRESS, and zeros."""
    head = b"\xdd\x99" + np.array([nx, ny, 0], ">i4").tobytes() + bytes(8) + bytes(planes)
    return head.ljust(length, b"\0")[:length]


HEADERS = {
    "an axis below zero": PRIMARY + extension("IMAGE", 16, (-5, 10)),
    "a primary axis below zero": header(("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 1), ("NAXIS1", -10)),
    "rows below zero": PRIMARY + extension("BINTABLE", 8, (8, -10), ("TFIELDS", 1), ("TFORM1", "1D")),
    "bits 7": PRIMARY + extension("IMAGE", 7, (10, 10)) + bytes(2880),
    "bits 99999": PRIMARY + extension("IMAGE", 99999, (10, 10)) + bytes(2880),
    "a thousand axes": PRIMARY + header(("XTENSION", "IMAGE"), ("BITPIX", 8), ("NAXIS", 1000)),
    "axes in words": PRIMARY + header(("XTENSION", "IMAGE"), ("BITPIX", 8), ("NAXIS", "two")),
    "an axis that is missing": PRIMARY + header(("XTENSION", "IMAGE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 4)),
    "a heap below zero": PRIMARY + extension("IMAGE", 16, (10, 10), pcount=-500) + bytes(2880),
    "groups below zero": PRIMARY + extension("IMAGE", 16, (10, 10), gcount=-5) + bytes(2880),
}
"""Headers that tell no length of their data."""

TABLES = {
    "a million columns": PRIMARY + table(10, 8, ["1D"], fields=1_000_000) + bytes(2880),
    "columns below zero": PRIMARY + table(10, 8, ["1D"], fields=-1) + bytes(2880),
    "a column that is missing": PRIMARY + table(10, 8, ["1D"], fields=2) + bytes(2880),
    "one dimension": PRIMARY + extension("BINTABLE", 8, (8,), ("TFIELDS", 1), ("TFORM1", "1D")) + bytes(2880),
    "many descriptors": PRIMARY + table(10, 8, ["999999999PJ(9)"]) + bytes(2880),
    "many elements": PRIMARY + table(10, 8, ["999999999D"]) + bytes(2880),
    "more elements than digits": PRIMARY + table(10, 8, ["9" * 30 + "D"]) + bytes(2880),
    "no form": PRIMARY + table(10, 8, ["1?"]) + bytes(2880),
    "rows that are too long": PRIMARY + table(10, 80, ["1J"]) + bytes(2880),
    "rows that are too short": PRIMARY + table(10, 2, ["1J"]) + bytes(2880),
    "text beyond the row": text_table("I99999999", 1),
    "text before the row": text_table("I8", -50),
    "a heap far away": of_variable_length(1, 0, ("THEAP", 10**9)),
    "a heap before the rows": of_variable_length(1, 0, ("THEAP", -8)),
}
"""Tables whose columns are not in their rows."""

HEAPS = {
    "outside": of_variable_length(10, 5000),
    "just outside": of_variable_length(1, 97),
    "fewer than none": of_variable_length(-5, 0),
    "before": of_variable_length(5, -50),
    "very many": of_variable_length(2**30, 0),
    "overlapping": PRIMARY
    + table(1000, 8, ["1PJ(9)"], pcount=200_000)
    + block(pair(50_000, 0) * 1000 + bytes(200_000)),
}
"""Tables whose rows point where no heap is."""

TILES = {
    "tiles that do not fill": tiles(tile=(7, 3)),
    "tiles of nothing": tiles(tile=(0, 1)),
    "an axis of a thousand million": tiles(shape=(10**9, 10**9), tile=(10**9, 1)),
    "as many rows": tiles(shape=(10, 10**9)),
    "an axis below zero": tiles(shape=(-10, 10)),
    "a codec of its own": tiles("LZW"),
    "bits 7": tiles(bitpix=7),
    "one large tile": tiles(shape=(30000, 30000), tile=(30000, 30000), rows=1),
    "blocks of a million": tiles(more=[("ZNAME1", "BLOCKSIZE"), ("ZVAL1", 10**6)]),
}
"""Images in tiles that cannot be."""

STREAMS = {
    "RICE of zeros": tiles(),
    "PLIO that is too long": tiles("PLIO_1", data=b"\x7f\xff" * 10),
    "PLIO from before": tiles("PLIO_1", data=np.array([0, -900, 0, 1, 0, 0, 0, 0], ">i2").tobytes()),
    "HCOMPRESS of more pixels": tiles("HCOMPRESS_1", tile=(10, 10), rows=1, data=hcompress(10_000, 10_000)),
    "HCOMPRESS of other pixels": tiles("HCOMPRESS_1", tile=(10, 10), rows=1, data=hcompress(-10, -10)),
    "HCOMPRESS of many planes": tiles("HCOMPRESS_1", tile=(10, 10), rows=1, data=hcompress(10, 10, (90, 90, 90))),
    "HCOMPRESS that is cut": tiles("HCOMPRESS_1", tile=(10, 10), rows=1, data=hcompress(10, 10, length=2)),
    "gzip that bursts": tiles("GZIP_1", tile=(10, 10), rows=1, data=gzip.compress(bytes(100_000_000), 6)),
    "gzip that bursts, shuffled": tiles("GZIP_2", tile=(10, 10), rows=1, data=gzip.compress(bytes(100_000_000), 6)),
    "gzip that is none": tiles("GZIP_1", tile=(10, 10), rows=1, data=b"x" * 20_000),
    "gzip of another size": tiles("GZIP_1", tile=(10, 10), rows=1, data=gzip.compress(bytes(999))),
}
"""Images in tiles whose tiles are not theirs."""


def _inflatable(size):
    machine = zlib.compressobj(6, wbits=31)
    head = machine.compress(PRIMARY + extension("IMAGE", 8, (10**9,)))
    return head + b"".join(machine.compress(bytes(10_000_000)) for _ in range(size // 10_000_000)) + machine.flush()


GZIP = _inflatable(300_000_000)
"""300 kB that become 300 MB."""
