"""The extensions that remember a file's earlier astrometric solutions: HDRLET and WCSCORR.

A headerlet is a FITS file inside an extension of its own type, ``XTENSION= 'HDRLET  '``.
Source: STScI TSR 2011-01 and TSR 2012-02; sizes and cards as in public products.
"""

from __future__ import annotations

import numpy as np

from hst_cloud.testing.demo import geometry
from hst_cloud.testing.demo.blocks import binary_table, block, card, foreign, primary
from hst_cloud.testing.demo.exposures import DATE, Exposure, section

__all__ = ["SMALL", "headerlet", "history_table"]

SMALL = 8640  # bytes of a headerlet without distortion tables; with them there are 112,320
_LETTERS = "OABCDEFG"
# where the ten extensions of a headerlet with tables begin: a header of three blocks or a table of four
_OFFSETS = (2880, 11520, 23040, 34560, 46080, 57600, 66240, 77760, 89280, 100800)

_ROW = [
    ("WCS_ID", "S40"), ("EXTVER", ">i2"), ("WCS_key", "S1"), ("HDRNAME", "S24"), ("SIPNAME", "S24"),
    ("NPOLNAME", "S24"), ("D2IMNAME", "S24"), ("CRVAL1", ">f8"), ("CRVAL2", ">f8"), ("CRPIX1", ">f8"),
    ("CRPIX2", ">f8"), ("CD1_1", ">f8"), ("CD1_2", ">f8"), ("CD2_1", ">f8"), ("CD2_2", ">f8"), ("CTYPE1", "S24"),
    ("CTYPE2", "S24"), ("ORIENTAT", ">f8"), ("PA_V3", ">f8"), ("RMS_RA", ">f8"), ("RMS_Dec", ">f8"),
    ("NMatch", ">i4"), ("Catalog", "S40"), ("DESCRIP", "S128"),
]  # fmt: skip


def headerlet(exposure: Exposure, version: int, scale: int, *, small: bool = False) -> bytes:
    """Return an HDRLET extension: 8,640 bytes without distortion tables, 112,320 with those of two chips."""
    root = exposure.rootname
    name = "OPUS" if small else f"IDC_demo1536-GSC240-{version}"
    names = [
        card("HDRNAME", f"{root}_flt_OPUS" if small else f"{root}_flc_{version:06x}_hlet.fits", "headerlet name"),
        card("DATE", f"{DATE}T03:10:09", "date FITS file was generated"),
        card("SIPNAME", f"{root}_demo1536", "SIP distortion model name"),
        card("WCSNAME", name, "WCS name"),
        card("DISTNAME", f"{root}_demo1536-demo1537-demo1538", "distortion model name"),
        card("NPOLFILE", "jref$demo1537j_npl.fits"),
        card("D2IMFILE", "jref$demo1538j_d2i.fits"),
        card("EXTNAME", "HDRLET", "extension name"),
        card("EXTVER", version),
    ]
    offsets = [0, 0] if small else _OFFSETS
    cards = [
        *(card(f"XIND{n}", at, f"byte offset of extension {n}") for n, at in enumerate(offsets, 1)),
        card("COMPRESS", False, "uses gzip compression"),
        *names,
    ]
    return foreign("HDRLET", _payload(exposure, name, scale, small=small), cards)


def history_table(exposure: Exposure, rows: int, scale: int) -> bytes:
    """Return the WCSCORR table: a row for each chip of each solution that there was, and empty rows to come."""
    table = np.zeros(rows, _ROW)
    for unused in ("CD1_1", "CD2_2"):
        table[unused] = 1.0
    chips = len(geometry.DETECTORS[exposure.detector].chips)
    used = min(rows, 4 * chips)
    for n in range(used):
        number = n % chips + 1
        letter = (_LETTERS + " ")[[0, 8, 1, 2][n // chips]]
        linear = geometry.solution(exposure, number, scale)
        for key, value in linear.items():
            table[key][n] = value
        table["WCS_ID"][n] = "OPUS" if letter == "O" else "IDC_demo1536"
        table["EXTVER"][n], table["WCS_key"][n] = number, letter.strip()
        table["SIPNAME"][n] = f"{exposure.rootname}_demo1536"
        table["CTYPE1"][n], table["CTYPE2"][n] = "RA---TAN", "DEC--TAN"
    formats = {
        name: kind[1:] + "A" if kind[0] == "S" else {"2": "I", "8": "D", "4": "J"}[kind[2]] for name, kind in _ROW
    }
    formats["WCS_key"] = "A"
    cards = [card("TROWS", used // chips, "number of updated rows in table")]
    return binary_table(table, cards, name="WCSCORR", formats=formats)


def _payload(exposure: Exposure, name: str, scale: int, *, small: bool) -> bytes:
    values = {
        "WCSNAME": name, "HDRNAME": f"{exposure.rootname}_hlet.fits", "DESTIM": exposure.rootname,
        "DISTNAME": f"{exposure.rootname}_demo1536", "SIPNAME": f"{exposure.rootname}_demo1536", "DATE": DATE,
    }  # fmt: skip
    cards = [one for one in section("headerlet", values) if not one.startswith("DATE ")]
    parts = [primary(cards, filename=f"{exposure.rootname}_hlet.fits", nextend=1, date=DATE, count=24)]
    if small:
        return b"".join([*parts, _solution(exposure, 1, scale, 60)])
    order = [("WCSDVARR", 1), ("WCSDVARR", 2), ("D2IMARR", 1), ("D2IMARR", 2)]
    for number in (1, 2):
        parts.append(_solution(exposure, number, scale, 95 if number == 1 else 93))
        wanted = [(table, version + 2 * (number - 1)) for table, version in order]
        parts += geometry.distortion_parts(scale, wanted, chipcard=False).values()
    return b"".join(parts)


def _solution(exposure: Exposure, number: int, scale: int, count: int) -> bytes:
    cards = geometry.solution_cards(exposure, number, scale, tables=count > 60)
    head = [card("XTENSION", "IMAGE", "image extension"), card("BITPIX", 8), card("NAXIS", 0), card("PCOUNT", 0)]
    names = [card("GCOUNT", 1), card("EXTNAME", "SIPWCS", "extension name"), card("EXTVER", number)]
    return block([*head, *names, *cards], count)
