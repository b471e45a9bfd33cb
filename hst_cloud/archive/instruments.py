"""The five instruments as data: names, detectors, and what each kind of file holds.

Nothing here decides anything; `names`, `mast`, the generator of demonstration data and the pictures look things up.

Sources: HST Data Handbook (hst-docs.stsci.edu, "Introduction to the HST Data Handbooks" 2.2, table 2.1) for the
letters; the instruments' data handbooks for suffixes and HDUs; STScI's file name tables as astroquery and caldp
carry them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["INSTRUMENTS", "LETTERS", "Instrument", "Kind", "Suffix", "instrument_of", "suffixes_of"]

Kind: TypeAlias = Literal["image", "spectrum", "events", "counts", "table", "support", "text"]
"""What a file holds, which decides how a picture of it looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suffix:
    """One kind of file, such as ``flc``."""

    name: str
    """As it stands in file names, in lower case."""
    meaning: str
    """What the file is, in a few words."""
    kind: Kind
    """What it holds."""
    level: int
    """MAST's product calibration level: 1 raw or support, 2 calibrated, 3 combined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One instrument of the telescope."""

    name: str
    """As MAST writes it before the slash: ``ACS``."""
    letters: str
    """First letters of its rootnames, in lower case."""
    detectors: tuple[str, ...]
    """As MAST writes them after the slash."""
    project: str
    """MAST's name of its calibration pipeline: ``CALACS``."""
    suffixes: tuple[Suffix, ...]
    """Every kind of file that its pipeline leaves in the archive."""


def _suffixes(*rows: tuple[str, str, Kind, int]) -> tuple[Suffix, ...]:
    return tuple(Suffix(name=n, meaning=m, kind=k, level=v) for n, m, k, v in rows)


# Files that every instrument has: HST Data Handbook 2.2.
_COMMON = _suffixes(
    ("trl", "trailer: the log of the processing", "text", 1),
    ("log", "log of the processing, as plain text", "text", 1),
    ("spt", "support, planning and telemetry", "support", 1),
    ("asn", "association table", "table", 1),
    ("jit", "jitter: pointing every 3 seconds", "table", 1),
    ("jif", "jitter image", "image", 1),
    ("pdq", "post-observation data quality", "text", 1),
    ("hlet", "headerlet: a WCS solution", "support", 2),
    ("flt_hlet", "headerlet of the flt", "support", 2),
    ("flc_hlet", "headerlet of the flc", "support", 2),
)
_CCD = _suffixes(
    ("raw", "raw exposure", "image", 1),
    ("flt", "calibrated exposure", "image", 2),
    ("flc", "calibrated exposure, corrected for charge transfer", "image", 2),
    ("crj", "cosmic-ray rejected combination", "image", 2),
    ("crc", "the same, corrected for charge transfer", "image", 2),
    ("drz", "drizzled: combined and rectified", "image", 3),
    ("drc", "the same, corrected for charge transfer", "image", 3),
)

INSTRUMENTS: dict[str, Instrument] = {
    i.name: i
    for i in (
        Instrument(name="ACS", letters="j", detectors=("WFC", "HRC", "SBC"), project="CALACS", suffixes=_CCD + _COMMON),
        Instrument(
            name="COS",
            letters="l",
            detectors=("FUV", "NUV"),
            project="CALCOS",
            # COS Data Handbook, table 2.1
            suffixes=_suffixes(
                ("rawtag", "raw photon events, NUV", "events", 1),
                ("rawtag_a", "raw photon events, FUV segment A", "events", 1),
                ("rawtag_b", "raw photon events, FUV segment B", "events", 1),
                ("rawaccum", "raw image, NUV", "image", 1),
                ("rawaccum_a", "raw image, FUV segment A", "image", 1),
                ("rawaccum_b", "raw image, FUV segment B", "image", 1),
                ("rawacq", "raw acquisition", "image", 1),
                ("pha_a", "pulse heights, segment A", "counts", 1),
                ("pha_b", "pulse heights, segment B", "counts", 1),
                ("corrtag", "corrected photon events, NUV", "events", 2),
                ("corrtag_a", "corrected photon events, FUV segment A", "events", 2),
                ("corrtag_b", "corrected photon events, FUV segment B", "events", 2),
                ("counts", "counts image, NUV", "image", 2),
                ("counts_a", "counts image, segment A", "image", 2),
                ("counts_b", "counts image, segment B", "image", 2),
                ("csum", "summed counts image", "image", 2),
                ("csum_a", "summed counts image, segment A", "image", 2),
                ("csum_b", "summed counts image, segment B", "image", 2),
                ("flt", "flat-fielded image, NUV", "image", 2),
                ("flt_a", "flat-fielded image, segment A", "image", 2),
                ("flt_b", "flat-fielded image, segment B", "image", 2),
                ("lampflash", "spectra of the wavelength lamp", "spectrum", 2),
                ("x1d", "extracted spectrum of one exposure", "spectrum", 2),
                ("x1dsum", "summed spectrum of all positions", "spectrum", 3),
                ("x1dsum1", "summed spectrum, FP-POS 1", "spectrum", 2),
                ("x1dsum2", "summed spectrum, FP-POS 2", "spectrum", 2),
                ("x1dsum3", "summed spectrum, FP-POS 3", "spectrum", 2),
                ("x1dsum4", "summed spectrum, FP-POS 4", "spectrum", 2),
                ("fltsum", "summed flat-fielded image", "image", 3),
            )
            + _COMMON,
        ),
        Instrument(
            name="STIS",
            letters="o",
            detectors=("CCD", "FUV-MAMA", "NUV-MAMA"),
            project="CALSTIS",
            # STIS Data Handbook, table 2.1
            suffixes=_suffixes(
                ("raw", "raw exposure", "image", 1),
                ("tag", "raw photon events", "events", 1),
                ("wav", "raw wavelength calibration exposure", "image", 1),
                ("wsp", "support of the wavelength calibration exposure", "support", 1),
                ("lrc", "local rate check image", "image", 1),
                ("lsp", "support of the local rate check", "support", 1),
                ("epc", "charge of the CCD's thermo-electric cooler", "table", 1),
                ("flt", "flat-fielded exposure", "image", 2),
                ("crj", "cosmic-ray rejected exposure", "image", 2),
                ("sfl", "summed flat-fielded exposures", "image", 2),
                ("x1d", "extracted spectrum", "spectrum", 2),
                ("sx1", "extracted spectrum of combined exposures", "spectrum", 2),
                ("x2d", "rectified spectral or direct image", "image", 2),
                ("sx2", "the same of combined exposures", "image", 2),
            )
            + _COMMON,
        ),
        Instrument(
            name="WFC3",
            letters="i",
            detectors=("UVIS", "IR"),
            project="CALWF3",
            suffixes=_CCD + _suffixes(("ima", "calibrated ramp: every read of an IR exposure", "image", 2)) + _COMMON,
        ),
        Instrument(
            name="FGS",
            letters="ef",
            detectors=("FGS1", "FGS2", "FGS3", "FGS1R", "FGS2R"),
            project="CALFGS",
            # FGS Data Handbook 2.1: one file for each of the three sensors
            suffixes=_suffixes(
                ("a1f", "sensor 1: photomultiplier counts and star selector angles", "counts", 1),
                ("a2f", "sensor 2: the same", "counts", 1),
                ("a3f", "sensor 3: the same", "counts", 1),
                ("dmf", "observation parameters", "support", 1),
            )
            + _COMMON,
        ),
    )
}

# First letter of a rootname -> instrument: those that the registry of open data promises, and those there anyway.
LETTERS: dict[str, str] = {letter: i.name for i in INSTRUMENTS.values() for letter in i.letters} | {
    "n": "NICMOS",
    "u": "WFPC2",
    "s": "WFPC2",  # associations and engineering data of WFPC2: HST Data Handbook, table 2.1
    "t": "WFPC2",
    "w": "WFPC",
    "x": "FOC",
    "y": "FOS",
    "z": "GHRS",
    "v": "HSP",
}


def instrument_of(rootname: str) -> str:
    """Return the instrument that `rootname` names by its first letter, or an empty text."""
    return LETTERS.get(rootname[:1].lower(), "")


def suffixes_of(instruments: tuple[str, ...] = ()) -> dict[str, Suffix]:
    """Return the vocabulary of suffixes of `instruments` (of all five when empty), by name.

    Where instruments share a name, the first one's meaning is given. Instruments other than the five have no
    vocabulary here and add nothing.
    """
    found: dict[str, Suffix] = {}
    for instrument in [INSTRUMENTS[name] for name in instruments or INSTRUMENTS if name in INSTRUMENTS]:
        for suffix in instrument.suffixes:
            found.setdefault(suffix.name, suffix)
    return found
