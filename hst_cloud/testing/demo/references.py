"""Calibration reference files that the demonstration's headers name: tiny, with the structures that programs expect.

Those that drizzling reads have their own extensions and columns, all others a picture or a table that says nothing.
Sources: DrizzlePac Handbook, "Reference files" (IDCTAB, NPOLFILE, D2IMFILE, MDRIZTAB); STScI TSR 2012, "Distortion
Correction in HST FITS Files" (DX and DY, a pair for each chip).
"""

from __future__ import annotations

import re

import numpy as np

from hst_cloud.fits.structure import header_stop
from hst_cloud.testing.demo.blocks import Array, Value, binary_table, card, image, primary
from hst_cloud.testing.demo.exposures import DATE

__all__ = ["named_in", "reference_file"]

_INSTRUMENTS = {"i": "WFC3", "j": "ACS", "l": "COS", "o": "STIS"}
_NAMED = re.compile(rb"(\w+) *= '[a-z]ref\$(\w{9}_\w+\.fits) *'")
_ORDER = 4

_COLUMNS: dict[str, list[tuple[str, str, Value]]] = {
    "IDCTAB": [
        ("DETCHIP", ">i4", 1), ("DIRECTION", "S8", "FORWARD"), ("FILTER1", "S8", "CLEAR1L"), ("FILTER2", "S8", "F814W"),
        ("XSIZE", ">i4", 4096), ("YSIZE", ">i4", 2048), ("XREF", ">f4", 2048.0), ("YREF", ">f4", 1024.0),
        ("V2REF", ">f4", 261.9), ("V3REF", ">f4", 198.2), ("SCALE", ">f4", 0.05), ("THETA", ">f4", 0.0),
        *(
            (f"C{axis}{power}{of}", ">f8", 0.05 * (power == 1 and of == (axis == "X")))
            for axis in "XY" for power in range(1, _ORDER + 1) for of in range(power + 1)
        ),
    ],
    "MDRIZTAB": [
        ("FILTER", "S8", "ANY"), ("NUMIMAGES", ">i4", 1), ("SKYSUB", "S1", "T"), ("MEDIAN", "S1", "T"),
        ("BLOT", "S1", "T"), ("DRIZ_CR", "S1", "T"), ("FINAL_KERNEL", "S12", "square"), ("FINAL_PIXFRAC", ">f4", 1.0),
        ("FINAL_SCALE", ">f4", 0.05), ("FINAL_WHT_TYPE", "S12", "EXP"),
    ],
}  # fmt: skip


def named_in(content: bytes) -> dict[str, str]:
    """Return the reference files that the primary header of a file names, and under which keyword each."""
    named = _NAMED.findall(content[: header_stop(content) or 0])
    return {name.decode(): keyword.decode() for keyword, name in named}


def reference_file(name: str, keyword: str) -> bytes:
    """Return the reference file `name` that headers have under `keyword`."""
    kind = name.partition("_")[2].partition(".")[0].upper()
    about: dict[str, Value] = {
        "TELESCOP": "HST",
        "INSTRUME": _INSTRUMENTS[name[8]],
        "FILETYPE": kind,
        "PEDIGREE": "DUMMY",  # as for files that only hold a place: HST Data Handbook
        "USEAFTER": "Jan 01 1990 00:00:00",
        "DESCRIP": "DEMONSTRATION, NOT FOR CALIBRATION",
    }
    if keyword in {"NPOLFILE", "D2IMFILE"}:
        shape = (33, 65) if keyword == "NPOLFILE" else (32, 64)
        planes = [(axis, chip) for chip in (1, 2) for axis in ("DX", "DY")]
        parts = [_plane(shape, axis, chip) for axis, chip in planes]
    elif keyword.endswith("TAB"):
        parts = [_table(_COLUMNS.get(keyword, [("PEDIGREE", "S8", "DUMMY"), ("VALUE", ">f4", 0.0)]))]
    else:
        parts = [image(np.zeros((16, 16), np.float32), [], name="SCI")]
    cards = [card(key, value) for key, value in about.items()]
    return b"".join([primary(cards, filename=name, nextend=len(parts), date=DATE), *parts])


def _plane(shape: tuple[int, int], axis: str, chip: int) -> bytes:
    return image(np.zeros(shape, np.float32), [card("CCDCHIP", chip)], name=axis, version=chip)


def _table(columns: list[tuple[str, str, Value]]) -> bytes:
    rows: Array = np.array([tuple(value for *_, value in columns)], [(name, form) for name, form, _ in columns])
    return binary_table(rows, [], name="", version=None)
