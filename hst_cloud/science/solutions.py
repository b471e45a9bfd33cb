"""Where the pixels of an image lie on the sky, from the bytes of its header and of its tables of distortion.

A solution is an `astropy.wcs.WCS`. astropy makes one of a header and an HDUList, in 10 ms, most of which it spends on
taking cards apart that wcslib then reads by itself. The pipelines of HST write one form of solution: gnomonic, with SIP
polynomials and lookup tables. Its few values are found in the bytes here, and given to the classes that astropy's own
reader gives them to, in less than one. A solution that is written in any other way is read by astropy as a whole.
Sources: FITS WCS paper IV, draft; SIP: Shupe et al. 2005, ASP Conf. 347, 491; Hack et al. 2012, STScI TSR "Distortion
Correction in HST FITS Files".
"""

from __future__ import annotations

import re
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyDeprecationWarning
from astropy.wcs import WCS, DistortionLookupTable, Sip, Wcsprm

from hst_cloud.fits.pixels import box_array, image_of
from hst_cloud.fits.structure import CARD, Cards, HDUExtent, number
from hst_cloud.store.segments import Segments

__all__ = ["key_of", "part_of", "solution_of", "solutions_named", "solving_header", "tables_named"]

# DP1 = 'EXTVER: 1.0': the table that corrects axis 1. Source: FITS WCS paper IV, draft, record-valued keywords.
_TABLE = re.compile(rb"(DP|D2IM)[12] *= *'EXTVER: *(\d+)")
_TABLES = {b"DP": "WCSDVARR", b"D2IM": "D2IMARR"}

# What wcslib and astropy read of a header: FITS Standard 4.0, tables 22, 25, 27, 29 and 35; the papers named above.
# Most cards are something else, and every card costs more to parse than to look at.
_SOLVES = re.compile(
    rb"NAXIS\d*|WCS\w+|C(?:RPIX|RVAL|ROTA|RDER|TYPE|UNIT|NAME|DELT|SYER|ZPHS|PERI|PDIS|PERR|QDIS|QERR|D)\d\w*"
    rb"|P[CVS]\d\w+|D[PQ]\d|D2IM\w+|DVERR\w*|AXISCORR|[AB]P?_\w+|LONPOLE\w?|LATPOLE\w?|REST(?:FRQ|WAV|FREQ)\w?"
    rb"|VEL\w+|[VZ]SOUR\w+|SPECSYS\w?|SSYS\w+|TIM\w+|TREF\w+|PLEPHEM|DATE\S*|MJD\S*|[JB]?EPOCH|TSTART|TSTOP"
    rb"|XPOSURE|TELAPSE|OBS(?:GEO|ORB)\S+|RADE\w+|EQUINOX\w?|[A-Z]+_(?:REF|OBS)"
)

# Of these, what the form that is read here has and wcslib must not see, since astropy applies it, ...
_DISTORTS = re.compile(rb"[AB]_(?:ORDER|\d_\d)|DP[12]|CPDIS[12]|CPERR[12]|D2IM(?:DIS|ERR)?[12]")
_POWERS = re.compile(rb"([AB])_(\d)_(\d)")
_LOOKUP = re.compile(rb"= *'LOOKUP *' *(?:/.*)?", re.IGNORECASE)
_KEYS = (" ", *string.ascii_uppercase)
_ERRORS = (b"CPERR1", b"CPERR2", b"D2IMERR1", b"D2IMERR2")
_LOOKUPS = (
    ("cpdis1", b"CPDIS1", b"DP1", 1), ("cpdis2", b"CPDIS2", b"DP2", 2),
    ("det2im1", b"D2IMDIS1", b"D2IM1", 1), ("det2im2", b"D2IMDIS2", b"D2IM2", 2),
)  # fmt: skip
_RECORDS = frozenset(name for _, _, name, _ in _LOOKUPS)
_RECORD = re.compile(rb"= *'(EXTVER|NAXES|AXIS\.[12]): *(\d+)(?:\.0*)? *' *(?:/.*)?")
# ... and what it does not have.
_STRANGE = re.compile(
    rb"AXISCORR|P[SV]\d\w+|CQ(?:DIS|ERR)\w+|CP(?:DIS|ERR)(?![12]$)\w+|D(?:P[^12]|Q\d)|DVERR\w*"
    rb"|[AB]P_(?:ORDER|\d+_\d+)\w*|[AB]_(?!\d_\d$)\d+_\w+|(?:NAXIS|CTYPE)(?:[3-9]|\d\d+)|CONTINUE"
)


def tables_named(header: bytes) -> set[tuple[str, int]]:
    """Return name and version of the tables of distortion that a header names."""
    wanted = {(_TABLES[kind], int(version)) for kind, version in _TABLE.findall(header)}
    if "AXISCORR" in Cards(header):  # the form before 2012: one row or column for both axes
        wanted.add(("D2IMARR", 1))
    return wanted


def solutions_named(header: bytes) -> dict[str, str]:
    """Return the solutions that a header has: key (a blank for the primary one) to name, WCSNAME.

    Source: FITS WCS paper I, Greisen & Calabretta 2002, A&A 395, 1061, sec. 2.1.2: a letter behind every keyword.
    """
    cards = Cards(header)
    return {key: cards.text(f"WCSNAME{key}".rstrip()) for key in _KEYS if f"CTYPE1{key}".rstrip() in cards}


def key_of(header: bytes, wanted: str) -> str:
    """Return the key of the solution that `wanted` names: by its key, by its name, or by a pattern that has ``*``.

    Raises
    ------
    LookupError
        There is none, or a pattern fits several names; the message lists all.
    """
    named = solutions_named(header)
    if wanted in _KEYS:
        keys = [wanted] if wanted in named else []
    else:  # the primary one comes first, and stands for those that repeat its name
        keys = [key for key, name in named.items() if name and fnmatchcase(name.upper(), wanted.upper())]
    if len({named[key] for key in keys}) == 1:
        return keys[0]
    there = ", ".join(f"{key.strip() or 'primary'}: {name or '(no name)'}" for key, name in named.items())
    message = f"{'several solutions fit' if keys else 'there is no solution'} wcs_key={wanted!r}; it has "
    raise LookupError(message + (there or "none"))


def solution_of(
    header: bytes, shape: tuple[int, int], tables: Sequence[HDUExtent], held: Segments, key: str = " "
) -> WCS:
    """Return where the pixels of an image lie: astropy's ``WCS(header, hdulist, key=key)``.

    Parameters
    ----------
    header : bytes
        The image's.
    shape : tuple of int
        Its rows and columns, which an image that is one number has in keywords that astropy does not read.
    tables : sequence of HDUExtent
        The tables of `tables_named`, as far as the file has them.
    held : Segments
        What is in memory: the tables, with their headers.
    key : str, optional
        Which solution: a blank for the primary one, or a letter. An alternate one becomes the primary one of what is
        returned, so that nothing that is made of it depends on the letter.

    Raises
    ------
    ValueError, KeyError, TypeError, IndexError, MemoryError, VerifyError
        What astropy and wcslib raise of what they cannot read.
    """
    cards = list(_solving(header))
    try:
        _must(key == " ")
        solution = _assembled(cards, tables, held)
        solution.array_shape = shape
    except _OtherFormError:
        solution = _by_astropy(cards, shape, tables, held, key)
        solution.wcs.alt = " "
    solution.wcs.fix()  # dates and spellings are mended without a warning for each
    solution.wcs.set()
    return solution


def part_of(solution: WCS, x: int, y: int, shape: tuple[int, int]) -> WCS:
    """Return the solution of the part of an image whose first pixel is (`x`, `y`) of it, which may lie outside."""
    part = solution.deepcopy()
    origin = np.array([x, y], dtype=float)
    part.wcs.crpix -= origin
    if part.sip is not None:
        sip = part.sip
        part.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - origin)
    for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
        table = getattr(part, name)
        if table is not None:
            # crval is the pixel of the image at which the table has its own reference pixel.
            moved = (table.crval[0] - x, table.crval[1] - y)
            setattr(part, name, DistortionLookupTable(table.data, table.crpix, moved, table.cdelt))
    part.array_shape = shape
    part.wcs.set()
    return part


def solving_header(header: fits.Header) -> fits.Header:
    """Return what tells where the pixels lie, and nothing else: what else may be in a header is none of wcslib's."""
    cards = b"".join(card for _, card in _solving(header.tostring(endcard=False).encode("ascii", "replace")))
    return fits.Header.fromstring(cards)


def _solving(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and card of what tells where the pixels lie, long texts with their continuations."""
    kept = False
    for at in range(0, len(header), CARD):
        name = header[at : at + 8].rstrip()
        kept = kept if name == b"CONTINUE" else _SOLVES.fullmatch(name) is not None
        if kept:
            yield name, header[at : at + CARD]


def _by_astropy(
    cards: Sequence[tuple[bytes, bytes]],
    shape: tuple[int, int],
    tables: Sequence[HDUExtent],
    held: Segments,
    key: str,
) -> WCS:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for extent in tables:
        data = held.find(extent.header.start, extent.data.stop)
        assert data is not None  # asked for with the pixels
        hdus.append(fits.ImageHDU.fromstring(bytes(data)))
    header = fits.Header.fromstring(b"".join(card for _, card in cards))
    if header.get("NAXIS") == 0:
        header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, *reversed(shape)
    with warnings.catch_warnings() if "AXISCORR" in header else nullcontext():
        if "AXISCORR" in header:  # astropy warns of this form, which nobody but the archive can change
            warnings.simplefilter("ignore", AstropyDeprecationWarning)
        return WCS(header, hdus, fix=False, key=key)


# --- The form that the pipelines write -------------------------------------------------------------------------------


class _OtherFormError(Exception):
    """The solution is written in a way that is left to astropy."""


def _must(holds: object) -> None:
    if not holds:
        raise _OtherFormError


def _assembled(cards: Sequence[tuple[bytes, bytes]], tables: Sequence[HDUExtent], held: Segments) -> WCS:
    said, records = _sorted(cards)
    core = b"".join(card for name, card in said.items() if _DISTORTS.fullmatch(name) is None)
    axes, sip = Cards(core), _sip(said)
    end = "" if sip is None else "-SIP"
    _must((axes.text("CTYPE1"), axes.text("CTYPE2")) == (f"RA---TAN{end}", f"DEC--TAN{end}"))
    _must(axes.integer("NAXIS") in {0, 2})
    _must(all(_number(said.get(name, b""), 0) >= 0 for name in _ERRORS))  # astropy leaves out what has a smaller one
    solution = WCS(naxis=2)
    solution.wcs = Wcsprm(header=core, relax=True)
    _must(solution.wcs.naxis == 2)
    solution.sip = sip
    for place, kind, name, axis in _LOOKUPS:
        if kind in said:
            _must(_LOOKUP.fullmatch(said[kind], 8) and records.get((name, b"AXIS.%d" % axis)) == axis)
            table = _TABLES[name[:-1]], records.get((name, b"EXTVER"))
            there = [hdu for hdu in tables if (hdu.name, hdu.ver) == table]
            _must(len(there) == 1)
            setattr(solution, place, _lookup(there[0], held))
        else:
            _must(not any(of == name for of, _ in records))  # which wcslib would be shown
    return solution


def _sorted(cards: Sequence[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], dict[tuple[bytes, bytes], int]]:
    """Return the cards by keyword, and the fields of the record-valued ones."""
    said: dict[bytes, bytes] = {}
    records: dict[tuple[bytes, bytes], int] = {}
    for name, card in cards:
        if name in _RECORDS:
            record = _RECORD.fullmatch(card, 8)
            _must(record is not None and (name, record[1]) not in records)
            assert record is not None
            records[name, record[1]] = int(record[2])
        else:
            _must(name not in said and _STRANGE.fullmatch(name) is None)
            said[name] = card
    return said, records


def _sip(said: Mapping[bytes, bytes]) -> Sip | None:
    """Return the polynomials of both axes; None where there are none."""
    powers = [match for match in map(_POWERS.fullmatch, said) if match is not None]
    if not powers and b"A_ORDER" not in said and b"B_ORDER" not in said:
        return None
    factors = {}
    for axis in (b"A", b"B"):
        order = _number(said.get(axis + b"_ORDER", b""))
        _must(order in range(2, 10))
        factors[axis] = np.zeros((int(order) + 1, int(order) + 1))
    for match in powers:
        x, y = int(match[2]), int(match[3])
        _must(x + y < len(factors[match[1]]))
        factors[match[1]][x, y] = _number(said[match[0]])
    crpix = [_number(said.get(name, b"")) for name in (b"CRPIX1", b"CRPIX2")]
    return Sip(factors[b"A"], factors[b"B"], None, None, crpix)


def _lookup(hdu: HDUExtent, held: Segments) -> DistortionLookupTable:
    header = held.find(*hdu.header)
    assert header is not None  # asked for with the pixels
    image, cards = image_of(header, hdu), Cards(header)
    if image is None or image.value is not None or len(image.shape) != 2:
        raise _OtherFormError
    data = box_array(image, [(0, length) for length in image.shape], held)
    crpix, crval, cdelt = (
        [_number(cards.card(f"{name}{axis}"), default) for axis in (1, 2)]
        for name, default in (("CRPIX", 0), ("CRVAL", 0), ("CDELT", 1))
    )
    return DistortionLookupTable(data.astype(np.float32, copy=False), crpix, crval, cdelt)


def _number(card: bytes, default: float | None = None) -> float:
    value = number(card) if card or default is None else default
    if value is None:
        raise _OtherFormError
    return value
