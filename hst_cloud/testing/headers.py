"""Headers of FITS files, read without astropy's machinery for HDUs and so without its warnings.

A server that scans a thousand files must be quick, must not stumble over damaged ones, and must not touch the
warning filters of the process, which are shared by all threads.

Source: FITS Standard 4.0, sections 3.3 and 4.4.1 (blocks, cards, and the size of the data).
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO, cast

from astropy.io import fits

__all__ = ["Headers", "scan"]

_BLOCK = 2880
_LONGEST = 1000  # blocks of one header; no product has more than 100

Headers = list[fits.Header]


def scan(path: Path, most: int = 12) -> Headers:
    """Return the headers of the first `most` HDUs of a file, fewer where the file ends or stops making sense."""
    found: Headers = []
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
            file = cast("BinaryIO", opened)
            while len(found) < most:
                header = _header(file)
                if header is None:
                    break
                found.append(header)
                file.seek(-(-_size(header) // _BLOCK) * _BLOCK, 1)
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        pass  # what was found until here is all that can be known
    return found


def _header(file: BinaryIO) -> fits.Header | None:
    blocks: list[bytes] = []
    while len(blocks) < _LONGEST:
        block = file.read(_BLOCK)
        if len(block) < _BLOCK or (not blocks and block[:8] not in {b"SIMPLE  ", b"XTENSION"}):
            return None
        blocks.append(block)
        if any(block[i : i + 80].rstrip() == b"END" for i in range(0, _BLOCK, 80)):
            return fits.Header.fromstring(b"".join(blocks).decode("latin-1"))
    return None


def _size(header: fits.Header) -> int:
    axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header["NAXIS"]))]
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS"):
        axes = axes[1:]
    elements = 1
    for axis in axes:
        elements *= axis
    return abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + elements)
