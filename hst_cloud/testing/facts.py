"""What the headers of an observation's file say, in the columns of MAST's catalog.

Sources of keywords: the data handbooks of ACS, COS, STIS, WFC3 (chapter 2 each) and FGS; names of detectors and
filters as MAST writes them. Wavelengths are rough where no keyword tells them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from hst_cloud.archive.instruments import INSTRUMENTS, instrument_of
from hst_cloud.testing.columns import Cell, Row
from hst_cloud.testing.headers import Header, scan

T = TypeVar("T")

__all__ = ["members_of", "observation_facts"]

# Targets that are no sky, in TARGNAME.
_LAMPS = re.compile(r"BIAS|DARK|WAVE(HITM|LINE)?|CCDFLAT|TUNGSTEN.*|DEUTERIUM|D2|EARTH-CALIB|INTFLAT|NONE|.*-CAL")
_KEYWORDS = frozenset(
    {
        *("APERTURE", "ASN_ID", "BANDWID", "CAL_VER", "CENTRWV", "DATE-OBS", "DEC_APER", "DEC_TARG", "DETECTOR"),
        *(
            "EXPEND",
            "EXPSTART",
            "EXPTIME",
            "EXPTYPE",
            "EXTNAME",
            "FILTER",
            "FILTER1",
            "FILTER2",
            "IMAGETYP",
            "INSTRUME",
        ),
        *(
            "MAXWAVE",
            "MINWAVE",
            "MTFLAG",
            "OBSMODE",
            "OBSTYPE",
            "OPT_ELEM",
            "PHOTBW",
            "PHOTPLAM",
            "PRIMESI",
            "PROPOSID",
        ),
        *("PROPTTL1", "PR_INV_F", "PR_INV_L", "RA_APER", "RA_TARG", "TARDESCR", "TARGNAME", "TDATEOBS", "TEXPEND"),
        *("TEXPSTRT", "TEXPTIME", "TIME-OBS", "TTIMEOBS", "CTYPE1", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"),
        *("CD1_1", "CD1_2", "CD2_1", "CD2_2", "NAXIS1", "NAXIS2", "NPIX1", "NPIX2"),
    }
)
_EXCLUSIVE_DAYS = 365  # the exclusive-access period of most programs; headers do not tell it


def observation_facts(obs_id: str, path: Path | None) -> Row:
    """Return the columns of an observation that its file at `path`, or else its name, tells."""
    headers = scan(path, _KEYWORDS) if path is not None else []
    name = instrument_of(obs_id)
    if not name and headers:
        name = str(headers[0].get("INSTRUME", "")).strip().upper()
    pipeline = INSTRUMENTS[name].project if name in INSTRUMENTS else f"CAL{name}"
    instrument = f"{name}/{detector}" if (detector := _detector(name, headers)) else name
    start = _number(headers, "EXPSTART") or _number(headers, "TEXPSTRT") or _date(headers)
    seconds = _first(_number(headers, key) for key in ("TEXPTIME", "EXPTIME"))
    end = _number(headers, "EXPEND") or _number(headers, "TEXPEND")
    if end is None and start is not None:
        end = start + (seconds or 0.0) / 86400
    shortest, longest = _wavelengths(name, headers)
    ra, dec = _number(headers, "RA_TARG"), _number(headers, "DEC_TARG")
    if ra is None or dec is None:
        ra, dec = _number(headers, "RA_APER"), _number(headers, "DEC_APER")
    region = _region(shortest, longest)
    proposal = _number(headers, "PROPOSID")
    return {
        "intentType": _intent(headers),
        "provenance_name": pipeline,
        "instrument_name": instrument,
        "filters": _filters(name, headers),
        "wave_region": region,
        "wavelength_region": region,
        "target_name": _word(headers, "TARGNAME"),
        "target_classification": _word(headers, "TARDESCR"),
        "s_ra": ra,
        "s_dec": dec,
        "dataproduct_type": _type(name, headers),
        "proposal_pi": ", ".join(filter(None, (_word(headers, "PR_INV_L"), _word(headers, "PR_INV_F")))) or None,
        "t_min": start,
        "t_max": end,
        "t_exptime": seconds,
        "em_min": shortest,
        "em_max": longest,
        "wave_min": shortest,
        "wave_max": longest,
        "obs_title": _word(headers, "PROPTTL1"),
        "t_obs_release": None if end is None else end + _EXCLUSIVE_DAYS,
        "proposal_id": None if proposal is None else str(int(proposal)),
        "proposal_type": "GO",
        "s_region": _outline(headers, ra, dec),
        "mtFlag": (_word(headers, "MTFLAG") or "").upper() in {"T", "TRUE"},
        # Not columns of the catalog: what else is asked of the same headers.
        "asn_id": (_word(headers, "ASN_ID") or "").lower(),
        "version": _version(pipeline, headers),
        "aperture": _word(headers, "APERTURE"),
        "mode": _word(headers, "OBSMODE"),
    }


def members_of(path: Path) -> list[str]:
    """Return the names that an association table lists, in lower case; none if it can't be read."""
    try:
        with fits.open(path) as hdus:
            table = hdus[1].data
            return [str(name).strip().lower() for name in table["MEMNAME"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError, Warning):  # warnings may be errors in a test
        return []


def _values(headers: list[Header], key: str) -> list[Cell]:
    """Return what the first two headers say: ACS and WFC3 describe exposures in the first, COS and STIS in both."""
    return [header[key] for header in headers[:2] if key in header]


def _word(headers: list[Header], key: str) -> str | None:
    return _first(str(value).strip() or None for value in _values(headers, key))


def _number(headers: list[Header], key: str) -> float | None:
    return _first(
        float(value)
        for value in _values(headers, key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _date(headers: list[Header]) -> float | None:
    for day, hour in (("DATE-OBS", "TIME-OBS"), ("TDATEOBS", "TTIMEOBS")):
        text = _word(headers, day)
        if text:
            try:
                when = datetime.fromisoformat(f"{text[:10]}T{_word(headers, hour) or '00:00:00'}")
            except ValueError:
                continue
            return (when - datetime(1858, 11, 17)).total_seconds() / 86400  # noqa: DTZ001  # both UTC, and only subtracted
    return None


def _detector(name: str, headers: list[Header]) -> str:
    detector = _word(headers, "DETECTOR")
    if name == "FGS" and not detector:
        detector = _word(headers, "PRIMESI")
    return (detector or "").upper()


def _filters(name: str, headers: list[Header]) -> str | None:
    if name == "ACS":
        both = [_word(headers, "FILTER1"), _word(headers, "FILTER2")]
        return ";".join(f for f in both if f and not f.upper().startswith(("CLEAR", "N/A"))) or None
    if name in {"COS", "STIS"}:
        return _word(headers, "OPT_ELEM")
    return _word(headers, "FILTER")


def _type(name: str, headers: list[Header]) -> str:
    if name == "FGS":
        return "timeseries"
    kind = (_word(headers, "OBSTYPE") or "").upper()
    if kind == "IMAGING":
        return "image"
    return "spectrum" if kind == "SPECTROSCOPIC" or name == "COS" else "image"


def _intent(headers: list[Header]) -> str:
    image = (_word(headers, "IMAGETYP") or "").upper()
    exposure = (_word(headers, "EXPTYPE") or "").upper()
    target = (_word(headers, "TARGNAME") or "").upper()
    lamp = image in {"BIAS", "DARK", "FLAT"} or exposure in {"WAVECAL", "DARK", "BIAS", "FLAT", "PHA"}
    return "calibration" if lamp or _LAMPS.fullmatch(target) else "science"


def _version(pipeline: str, headers: list[Header]) -> str | None:
    version = _word(headers, "CAL_VER")
    return f"{pipeline} {version}" if version else None


def _wavelengths(name: str, headers: list[Header]) -> tuple[float | None, float | None]:
    """Return the shortest and the longest wavelength in nm; headers have them in Angstrom."""
    shortest, longest = _number(headers, "MINWAVE"), _number(headers, "MAXWAVE")
    if shortest and longest and shortest > 0:
        return shortest / 10, longest / 10
    for center_key, width_key, half in (("PHOTPLAM", "PHOTBW", 1.0), ("CENTRWV", "BANDWID", 0.5)):
        center, width = _number(headers, center_key), _number(headers, width_key)
        if center and width and center > 0 and width > 0:
            return (center - half * width) / 10, (center + half * width) / 10
    for text in (_filters(name, headers) or "").split(";"):
        match = re.match(r"F(\d{3})", text)  # F814W: centered near 814 nm; F160W of WFC3/IR: 1,600 nm
        if match:
            center = int(match[1]) * (10 if int(match[1]) < 170 and _detector(name, headers) == "IR" else 1)
            return center * 0.9, center * 1.1
    return None, None


def _region(shortest: float | None, longest: float | None) -> str | None:
    if shortest is None or longest is None:
        return None
    bands = (("UV", 10.0, 320.0), ("OPTICAL", 320.0, 950.0), ("INFRARED", 950.0, 1e6))
    middle = (shortest + longest) / 2
    return next((name for name, low, high in bands if low <= middle < high), None)


def _outline(headers: list[Header], ra: float | None, dec: float | None) -> str | None:
    """Return the outlines of all chips, or a small circle around the target where there is no picture."""
    polygons = dict.fromkeys(polygon for header in headers if (polygon := _polygon(header)))  # reads of a ramp agree
    if polygons:
        return " ".join(polygons)
    if ra is None or dec is None:
        return None
    return f"CIRCLE ICRS {ra:.8f} {dec:.8f} {1.25 / 3600:.8f}"  # the radius of COS's aperture


def _polygon(header: Header) -> str:
    """Return the corners of one picture, without its distortion; empty if it has no celestial coordinates."""
    keys = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    if not str(header.get("CTYPE1", "")).startswith("RA---TAN"):
        return ""
    if not all(isinstance(header.get(key), int | float) for key in keys):
        return ""
    if header.get("EXTNAME", "SCI") != "SCI":
        return ""
    width, height = (_axis(header, i) for i in (1, 2))
    if width <= 0 or height <= 0:
        return ""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [header["CRVAL1"], header["CRVAL2"]]
    wcs.wcs.crpix = [header["CRPIX1"], header["CRPIX2"]]
    wcs.wcs.cd = [[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]]
    corners = np.array([[0.5, 0.5], [0.5, height + 0.5], [width + 0.5, height + 0.5], [width + 0.5, 0.5], [0.5, 0.5]])
    sky = wcs.wcs_pix2world(corners, 1)
    return "POLYGON " + " ".join(f"{a:.8f} {d:.8f}" for a, d in sky)


def _axis(header: Header, number: int) -> int:
    return int(header.get(f"NAXIS{number}") or header.get(f"NPIX{number}") or 0)
