"""Files of true size of which only the headers exist: what real structures cost can be asserted without making them."""

from __future__ import annotations

import io
import itertools

from astropy.io import fits

from hst_cloud.fits.layout import scan
from hst_cloud.fits.structure import BLOCK, Cards, extent, header_stop
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive

IMAGES = {"SCI", "ERR", "DQ", "SAMP", "TIME", "WHT", "CTX"}


class Sparse:
    """A file of true size of which only headers and small data exist; images are zeros that nobody stores.

    It is made of the HDUs of a small file, whose images are given another shape, and whose tables other rows.
    """

    def __init__(self, content, shape=None, rows=None, *, constant=frozenset()):
        self.parts, self.hdus, self.size, at = [], [], 0, 0
        while at < len(content):
            length = header_stop(content[at:])
            header = content[at : at + length]
            small = extent(header, at)
            data = content[at + length : small.stop]
            axes = Cards(header).integer("NAXIS")
            if (small.name, small.ver) in constant:
                header, data = edited(header, NAXIS=0), b""
            elif shape is not None and small.name in IMAGES:
                header, data = edited(header, NAXIS1=shape[1], NAXIS2=shape[0]) if axes else header, b""
            elif rows is not None and small.name in {"SCI", "EVENTS", "jit"}:
                header, data = edited(header, NAXIS2=rows), b""
            self.parts.append((self.size, header + data))
            self.hdus.append(extent(header, self.size))
            self.size = self.hdus[-1].stop
            at = small.stop

    def write(self, path):
        """Write it as a sparse file, which takes no more of the disk than its headers."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for at, data in self.parts:
                file.seek(at)
                file.write(data)
            file.truncate(self.size)

    def read(self, start, stop):
        stop = min(stop, self.size)
        buffer = bytearray(max(0, stop - start))
        for at, data in self.parts:
            low, high = max(at, start), min(at + len(data), stop)
            if low < high:
                buffer[low - start : high - start] = data[low - at : high - at]
        return bytes(buffer)

    def scan(self, key, **known):
        """Return the scan and its batches; no byte may be asked for twice."""
        batches = []

        def carry(ranges):
            assert ranges
            batches.append(list(ranges))
            return [Piece(self.read(*r), self.size, "etag") for r in ranges]

        found = drive(scan(key, **known), carry)
        asked = sorted(r for batch in batches for r in batch)
        assert all(a.stop <= b.start for a, b in itertools.pairwise(asked))
        assert list(found.layout.hdus) == self.hdus
        assert all(found.segments.find(*h.header) is not None for h in self.hdus)
        self.bytes = sum(min(r.stop, self.size) - r.start for r in asked if r.start < self.size)
        return found, batches


def edited(header, **keywords):
    """Return a header with other integers, as long as before."""
    cards = [header[i : i + 80] for i in range(0, len(header), 80)]
    for i, card in enumerate(cards):
        for keyword, value in keywords.items():
            if card.startswith(f"{keyword:8}=".encode()):
                cards[i] = card[:9] + str(value).rjust(21).encode() + card[30:]
    return b"".join(cards)


def lengthened(content, cards):
    """Return a file with so many more cards in its primary header and in that of every SCI."""
    with fits.open(io.BytesIO(content)) as hdul:
        out = io.BytesIO()
        for hdu in hdul:
            start, stop = (hdu.fileinfo()[k] for k in ("hdrLoc", "datLoc"))
            header = content[start:stop]
            if hdu.name in {"PRIMARY", "SCI"}:
                text = header.rstrip()
                assert text.endswith(b"END")
                more = b"".join(f"HISTORY {i}".ljust(80).encode() for i in range(cards))
                header = text[:-3] + more + b"END"
                header += b" " * (-len(header) % BLOCK)
            out.write(header + content[stop : stop + hdu.fileinfo()["datSpan"]])
    return out.getvalue()
