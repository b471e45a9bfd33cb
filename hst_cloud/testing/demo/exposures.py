"""What is exposed, and what the headers of its files say: the keywords of each kind of HDU, and their values.

The tables of keywords are in ``keywords.txt``: a section for each kind of HDU, titles after a slash, ``KEY=value``
for what is the same in every file of the demonstration, ``KEY`` alone for what the exposure must say.
``*`` in a value stands for the nine characters by which a reference file is named.
Sources: headers of public HST products; HST Data Handbook 2.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from zlib import crc32

from hst_cloud.testing.demo.blocks import Value, card, title

__all__ = [
    "DATE",
    "Exposure",
    "Program",
    "Target",
    "calendar",
    "filename",
    "history",
    "keywords",
    "mnemonics",
    "section",
    "statements",
    "values_of",
    "wavelength_range",
]

DATE = "2024-02-03"  # one day for every file: the bytes depend on nothing but the arguments
PROCTIME = 60343.5  # the same in MJD

_TOKEN = re.compile(r"([^\s=]+)(?:=('(?:[^']|'')*'|\S*))?")

# What the commonest keywords mean, in our words; the rest goes without a comment.
_COMMENTS = {
    "TELESCOP": "telescope",
    "INSTRUME": "instrument",
    "DETECTOR": "detector",
    "ROOTNAME": "rootname of the observation set",
    "FILETYPE": "type of data in this file",
    "TARGNAME": "proposer's name of the target",
    "RA_TARG": "[deg] right ascension of the target (J2000)",
    "DEC_TARG": "[deg] declination of the target (J2000)",
    "PROPOSID": "proposal identifier",
    "PR_INV_L": "principal investigator",
    "DATE-OBS": "UT date of the start",
    "TIME-OBS": "UT time of the start",
    "EXPSTART": "[d] start of the exposure (MJD)",
    "EXPEND": "[d] end of the exposure (MJD)",
    "EXPTIME": "[s] duration of the exposure",
    "EXPFLAG": "interruptions of the exposure",
    "PA_V3": "[deg] position angle of the telescope's V3 axis",
    "APERTURE": "aperture",
    "FILTER": "element of the filter wheel",
    "FILTER1": "element of filter wheel 1",
    "FILTER2": "element of filter wheel 2",
    "OPT_ELEM": "optical element in use",
    "CENWAVE": "[Angstrom] central wavelength of the setting",
    "OBSTYPE": "imaging or spectroscopic",
    "OBSMODE": "operating mode",
    "ASN_ID": "association",
    "ASN_TAB": "association table",
    "ASN_MTYP": "role in the association",
    "CAL_VER": "version of the calibration software",
    "OPUS_VER": "version of the data processing system",
    "BUNIT": "unit of the pixels",
    "CCDCHIP": "chip",
    "PHOTFLAM": "inverse sensitivity, erg/cm2/Ang/electron",
    "PHOTZPT": "zero point of ST magnitudes",
    "PHOTPLAM": "[Angstrom] pivot wavelength",
    "PHOTBW": "[Angstrom] RMS bandwidth",
    "MDRIZSKY": "sky value computed by AstroDrizzle",
    "CCDGAIN": "commanded gain",
    "SUBARRAY": "part of the detector was read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something to point at."""

    name: str
    """As a proposer writes it: ``M51``."""
    ra: float
    """Right ascension, degrees, ICRS."""
    dec: float
    """Declination, degrees, ICRS."""
    description: str
    """As in keyword TARDESCR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A proposal, invented."""

    number: int
    """Keyword PROPOSID."""
    investigator: tuple[str, str, str]
    """Last, first and middle name."""
    title: str
    """Of the proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One exposure, or a product of several: what its headers say."""

    rootname: str
    """``ipppssoot``, lower case."""
    instrument: str
    """``ACS``."""
    detector: str
    """As in keyword DETECTOR: ``WFC``."""
    target: Target
    program: Program
    start: float
    """Modified Julian date."""
    seconds: float
    """Exposure time."""
    elements: tuple[str, ...] = ()
    """Filters or grating."""
    cenwave: int = 0
    """Keyword CENWAVE, Angstrom; 0 for none."""
    aperture: str = ""
    """Keyword APERTURE."""
    association: str = "NONE"
    """Rootname of the association."""
    role: str = ""
    """Keyword ASN_MTYP."""
    angle: float = 0.0
    """Position angle of the detector's y axis, degrees from north to east."""
    dither: tuple[float, float] = (0.0, 0.0)
    """Offset on the sky from the target, arcsec west and north."""
    members: tuple[Exposure, ...] = ()
    """The exposures that a combined product was made of."""

    def named(self, rootname: str) -> Exposure:
        """Return the same exposure by another name, or itself if that is empty."""
        return replace(self, rootname=rootname) if rootname else self

    @property
    def end(self) -> float:
        """Modified Julian date of the end."""
        return self.start + self.seconds / 86400.0


def section(name: str, values: Mapping[str, Value]) -> list[str]:
    """Return the cards of a section of the tables, `values` filled in.

    Raises
    ------
    KeyError
        The section needs a value that is not given.
    """
    cards: list[str] = []
    for keyword, value in statements(name, values):
        cards += [card(keyword, value, _COMMENTS.get(keyword, ""))] if keyword else title(str(value))
    return cards


def statements(name: str, values: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """Yield keywords and values of a section; a title has no keyword.

    Raises
    ------
    KeyError
        The section needs a value that is not given.
    """
    for keyword, default in _table(name):
        value = values.get(keyword, default) if keyword else default
        if isinstance(value, _Missing):
            raise KeyError(keyword)
        yield keyword, value


def keywords(name: str) -> dict[str, Value]:
    """Return the keywords of a section in their order, with what they say if no exposure says otherwise."""
    return {key: None if isinstance(default, _Missing) else default for key, default in _table(name) if key}


def filename(rootname: str, suffix: str) -> str:
    """Return the name of a FITS file."""
    return f"{rootname}_{suffix}.fits"


def values_of(exposure: Exposure) -> dict[str, Value]:
    """Return what the keywords of the tables say of `exposure`."""
    root, target, program = exposure.rootname, exposure.target, exposure.program
    elements = exposure.elements or ("N/A",)
    last, first, middle = program.investigator
    dispersed: dict[str, Value] = {"OBSTYPE": "SPECTROSCOPIC"} if elements[0].startswith(("G", "PR")) else {}
    return (
        _times(exposure)
        | dispersed
        | {
            "ROOTNAME": root,
            "EXPNAME": root,
            "INSTRUME": exposure.instrument,
            "DETECTOR": exposure.detector,
            "PRIMESI": exposure.instrument,
            "TARGNAME": target.name,
            "TARDESCR": target.description,
            "PROPOSID": program.number,
            "PROPTTL1": program.title[:68],
            "PROPTTL2": program.title[68:],
            "PR_INV_L": last,
            "PR_INV_F": first,
            "PR_INV_M": middle,
            "PROGRMID": root[1:4].upper(),
            "OBSET_ID": root[4:6].upper(),
            "OBSERVTN": root[6:8].upper(),
            "PA_V3": exposure.angle % 360,
            "PA_APER": exposure.angle,
            "ORIENTAT": exposure.angle,
            **{f"RA_{place}": target.ra for place in ("TARG", "APER", "REF", "AVG", "V1")},
            **{f"DEC_{place}": target.dec for place in ("TARG", "APER", "REF", "AVG", "V1")},
            "POSTARG1": exposure.dither[0],
            "POSTARG2": exposure.dither[1],
            "APERTURE": exposure.aperture,
            "PROPAPER": exposure.aperture,
            "FILTER": elements[0],
            "FILTER1": elements[0],
            "FILTER2": elements[-1],
            "OPT_ELEM": elements[0],
            "CENWAVE": exposure.cenwave,
            "ASN_ID": exposure.association.upper(),
            "ASN_TAB": filename(exposure.association, "asn") if exposure.association != "NONE" else "NONE",
            "ASN_MTYP": exposure.role,
        }
    )


def calendar(mjd: float) -> tuple[str, str]:
    """Return date and time of day of a Modified Julian date, to the second."""
    moment = _moment(mjd)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")


def mnemonics(letter: str) -> Iterator[str]:
    """Yield cards of engineering telemetry without end, as the support files have by the hundred."""
    number = 0
    while True:
        number += 1
        seed = crc32(f"{letter}{number}".encode())
        name = f"{letter}{'QTVHMC'[seed % 6]}{'AEIKPR'[seed // 6 % 6]}{number:05d}"
        yield card(name, seed % 4096 if seed % 3 else round(seed % 10**6 / 1e4, 4))


def history(steps: tuple[str, ...]) -> list[str]:
    """Return the history that a pipeline leaves: what it did, with which file."""
    lines = []
    for step in steps:
        lines += [f"{step} complete ...", f"  reference file {_reference(step, 'j')}", "    INFLIGHT, invented"]
    return [f"HISTORY {line}".ljust(80) for line in lines]


def wavelength_range(low: float, high: float, resolution: float) -> dict[str, Value]:
    """Return the keywords by which the archive is searched for wavelengths, in Angstrom."""
    middle = (low + high) / 2
    return {"MINWAVE": low, "MAXWAVE": high, "CENTRWV": middle, "BANDWID": high - low, "SPECRES": resolution}


class _Missing:
    """The default of a keyword that the exposure must give."""


def _times(exposure: Exposure) -> dict[str, Value]:
    date, clock = calendar(exposure.start)
    values: dict[str, Value] = {
        "DATE-OBS": date,
        "TIME-OBS": clock,
        "TDATEOBS": date,
        "TTIMEOBS": clock,
        "EXPSTRTJ": exposure.start + 2400000.5,
        "EXPENDJ": exposure.end + 2400000.5,
        "DARKTIME": exposure.seconds + 3.2,
        "PROCTIME": PROCTIME,
    }
    values |= dict.fromkeys(("EXPSTART", "TEXPSTRT"), exposure.start)
    values |= dict.fromkeys(("EXPEND", "TEXPEND"), exposure.end)
    values |= dict.fromkeys(("EXPTIME", "TEXPTIME", "EXPTIMEA", "EXPTIMEB", "RAWTIME", "PLANTIME"), exposure.seconds)
    values |= dict.fromkeys(("PSTRTIME", "STARTIME", "TSTRTIME"), _moment(exposure.start).strftime("%Y.%j:%H:%M:%S"))
    values |= dict.fromkeys(("PSTPTIME", "ENDTIME", "TENDTIME"), _moment(exposure.end).strftime("%Y.%j:%H:%M:%S"))
    return values


@cache
def _table(name: str) -> tuple[tuple[str, Value | _Missing], ...]:
    rows: list[tuple[str, Value | _Missing]] = []
    for line in _sections()[name]:
        if line.startswith("/"):
            rows.append(("", line[1:].strip()))
            continue
        for match in _TOKEN.finditer(line):
            keyword, text = match.groups()
            rows.append((keyword, _Missing() if text is None else _parse(keyword, text)))
    return tuple(rows)


@cache
def _sections() -> dict[str, list[str]]:
    text = resources.files(__package__).joinpath("keywords.txt").read_text(encoding="ascii")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("["):
            lines = found.setdefault(line[1:-1], [])
        elif line:
            lines.append(line)
    return found


def _parse(keyword: str, text: str) -> Value:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text in {"T", "F"}:
        return text == "T"
    if "$*" in text:
        return text.replace("*", _reference(keyword, text[0]), 1)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _reference(keyword: str, letter: str) -> str:
    """Return nine characters like those by which the archive names reference files, the instrument's letter last."""
    number = crc32(keyword.encode())
    letters = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[number // 36**n % 36] for n in range(7))
    return f"{letters[:1]}{number % 9}{letters[1:]}"[:8] + letter


def _moment(mjd: float) -> datetime:
    return datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=mjd, seconds=0.5)
