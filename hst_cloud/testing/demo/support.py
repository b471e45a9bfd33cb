"""Files that every exposure brings along: telemetry, association, jitter, and the log of its processing.

Structures and numbers of cards as in jbz504eoq_spt, ldfd01vnq_spt, octr11h4q_spt, jcmc11010_asn, ldfd01010_jit,
ldfd01010_jif and ldfd01vlq_trl.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hst_cloud.testing.demo import targets
from hst_cloud.testing.demo.blocks import Value, ascii_table, binary_table, block, card, image, primary, title
from hst_cloud.testing.demo.exposures import DATE, Exposure, calendar, filename, mnemonics, section, values_of
from hst_cloud.testing.demo.geometry import linear_cards
from hst_cloud.testing.demo.scenes import generator
from hst_cloud.testing.demo.structures import list_length, structure

__all__ = ["asn", "jif", "jit", "single", "spt", "trl"]

_TELEMETRY = 965  # 16-bit words of a packet
_LINE = 132  # characters of a line of the log
# cards of the primary header and of the telemetry's
_SPT = {"ACS": (344, 305, "UDL"), "COS": (288, 235, "SUPPORT"), "STIS": (294, 469, "UDL"), "WFC3": (320, 290, "UDL")}

_JITTER = (
    ("Seconds", ">f4", "seconds"), ("V2_dom", ">f4", "arcsec"), ("V3_dom", ">f4", "arcsec"),
    ("V2_roll", ">f4", "arcsec"), ("V3_roll", ">f4", "arcsec"), ("SI_V2_AVG", ">f4", "arcsec"),
    ("SI_V2_RMS", ">f4", "arcsec"), ("SI_V2_P2P", ">f4", "arcsec"), ("SI_V3_AVG", ">f4", "arcsec"),
    ("SI_V3_RMS", ">f4", "arcsec"), ("SI_V3_P2P", ">f4", "arcsec"), ("RA", ">f8", "degrees"), ("DEC", ">f8", "degrees"),
    ("Roll", ">f8", "degrees"), ("LimbAng", ">f4", "degrees"), ("TermAng", ">f4", "degrees"),
    ("LOS_Zenith", ">f4", "degrees"), ("Latitude", ">f4", "degrees"), ("Longitude", ">f4", "degrees"),
    ("Mag_V1", ">f4", "Gauss"), ("Mag_V2", ">f4", "Gauss"), ("Mag_V3", ">f4", "Gauss"), ("BrightLimb", ">i2", ""),
    ("FGS_flags", ">f4", ""), ("DayNight", ">i2", ""), ("Recenter", ">i2", ""), ("TakeData", ">i2", ""),
    ("SlewFlag", ">i2", ""),
)  # fmt: skip


@structure("spt", targets.SPIRAL_FIRST)
def spt(exposure: Exposure, _scale: int, seed: int) -> list[bytes]:
    """Support file: a packet of telemetry, by which nothing is scaled; COS adds two headers without data."""
    first, second, name = _SPT.get(exposure.instrument, _SPT["ACS"])
    values = values_of(exposure) | {"FILETYPE": "SPT"}
    cards = [one for one in section("spt.primary", values) if not one.startswith("DETECTOR")]
    cosmic = exposure.instrument == "COS"
    words = generator(seed, exposure.rootname, "spt").integers(0, 32767, _TELEMETRY).astype(np.int16)
    names = [card("ROOTNAME", exposure.rootname), card("EXPNAME", exposure.rootname)]
    letter = exposure.rootname[0].upper()
    telemetry = [*names, *title("general exposure information"), card("DETECTOR", exposure.detector)]
    parts = [
        primary(
            cards[:first], filename=filename(exposure.rootname, "spt"), nextend=3 if cosmic else 1, date=DATE,
            count=first, filler=mnemonics("S"),
        ),
        image(words, telemetry, name=name, count=second, filler=mnemonics(letter)),
    ]  # fmt: skip
    if cosmic:
        for snapshot, count in (("SNAP1", 460), ("SNAP2", 462)):
            head = [card("XTENSION", "IMAGE"), card("BITPIX", 16), card("NAXIS", 0), card("PCOUNT", 0)]
            head += [card("GCOUNT", 1), card("INHERIT", True), card("EXTNAME", snapshot), card("EXTVER", 1)]
            parts.append(block([*head, *names], count, mnemonics(letter)))
    return parts


@structure("asn", targets.SPIRAL)
def asn(exposure: Exposure, _scale: int, _seed: int) -> list[bytes]:
    """Association table: a row for each member and one for the product."""
    members = [(one.rootname, one.role) for one in exposure.members]
    if not members:  # STIS: the exposures of which nothing but their association's files is kept
        members = [(exposure.rootname[:6] + end, kind) for end, kind in (("a1q", "SCIENCE"), ("a3q", "AUTO-WAVECAL"))]
    # the product of ACS's dithers is one within the association
    product = exposure.rootname[:-1] + "1" if exposure.instrument == "ACS" else exposure.rootname
    members.append((product, exposure.role if exposure.members else "PRODUCT"))
    rows = np.zeros(len(members), [("MEMNAME", "S14"), ("MEMTYPE", "S14"), ("MEMPRSNT", "S1")])
    for row, (name, kind) in zip(rows, members, strict=True):
        row["MEMNAME"], row["MEMTYPE"], row["MEMPRSNT"] = name.upper(), kind, "T"
    values = values_of(exposure)
    cards = [card("INHERIT", True), card("ROOTNAME", exposure.rootname), card("EXPNAME", exposure.rootname)]
    return [
        primary(
            section("asn.primary", values), filename=filename(exposure.rootname, "asn"), nextend=1, date=DATE,
            count=43 if exposure.instrument == "COS" else 44,
        ),
        binary_table(
            rows, [*cards, *title("association table columns")], name="ASN", formats={"MEMPRSNT": "L"},
            display={"MEMNAME": "A14", "MEMTYPE": "A14", "MEMPRSNT": "L6"}, count=25,
        ),
    ]  # fmt: skip


@structure("jit", targets.SPIRAL)
def jit(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """Jitter: a row every three seconds; one extension for each member of an association, one alone for an exposure."""
    members = exposure.members or (exposure,)
    cards = _jitter_primary(exposure)[:20]
    parts = [
        primary(
            cards, filename=filename(exposure.rootname, "jit"), nextend=len(members), date=DATE, count=26,
            filler=[card("ASN_ID", exposure.association.upper()), card("ASN_TAB", _table_of(exposure))],
        )
    ]  # fmt: skip
    units = {name: unit for name, _, unit in _JITTER}
    formats = {name: {"f4": "E", "f8": "D", "i2": "I"}[kind[1:]] for name, kind, _ in _JITTER}
    for number, member in enumerate(members, 1):
        rows = _jitter(member, scale, seed)
        own = [card("INHERIT", True), card("ROOTNAME", exposure.rootname), card("EXPNAME", member.rootname)]
        own += [card("OBSET_ID", member.rootname[4:6]), card("PROCTIME", "2024.034:12:00:00")]
        own += title("jitter table columns")
        parts.append(
            binary_table(
                rows, own, name="jit", version=number, units=units, formats=formats, count=102, filler=_blanks()
            )
        )
    return parts


@structure("jif", targets.SPIRAL)
def jif(exposure: Exposure, _scale: int, seed: int) -> list[bytes]:
    """Jitter image: where the target stood, 64 pixels wide at any scale."""
    members = exposure.members or (exposure,)
    values = values_of(exposure) | {"INSTRUME": "FGS", "PRIMESI": exposure.instrument}
    head = [one for one in section("jif.primary", values) if not one.startswith("CONFIG")]
    head.append(card("CONFIG", f"{exposure.instrument}/{exposure.detector}"))
    named = filename(exposure.rootname, "jif")
    parts = [primary(head, filename=named, nextend=len(members), date=DATE, count=77)]
    for number, member in enumerate(members, 1):
        rng = generator(seed, member.rootname, "jitter")
        y, x = np.mgrid[0:64, 0:64]
        spread = np.exp(-0.5 * (((x - 31.5) / 1.6) ** 2 + ((y - 31.5) / 1.9) ** 2))
        data = rng.poisson(60 * spread).astype(np.int32)
        place = {"CRPIX1": 32.0, "CRPIX2": 32.0, "CRVAL1": member.target.ra, "CRVAL2": member.target.dec}
        place |= {"CD1_1": -5.6e-07, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 5.6e-07}
        cards = [*section("jif.image", values_of(member)), *linear_cards(place)]
        parts.append(image(data, cards, name="jit", version=number, count=86 if exposure.members else 88))
    return parts


@structure("trl", targets.SPIRAL_FIRST)
def trl(exposure: Exposure, _scale: int, _seed: int) -> list[bytes]:
    """Trailer: the log of the processing, an ASCII table of one column."""
    pieces = calendar(exposure.end + 1)
    stamp = "".join(pieces).translate(str.maketrans("", "", "-:"))
    steps = ["Data Partitioning", "Generic Conversion", "Calibration", "Archiving"]
    if exposure.members:
        steps.insert(3, f"Combination of {len(exposure.members)} exposures")
    lines = []
    for step in steps:
        lines.append(f"{stamp}-I-INFO -------------- {step} started: {exposure.rootname} ------------")
        lines += [f"{stamp}-I-INFO {step}: step {n} of 30 complete" for n in range(1, 31)]
    column = [card("TTYPE1", "TEXT_FILE", "one column per line"), card("TBCOL1", 1), card("TFORM1", f"A{_LINE}")]
    first = block(
        [
            card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0), card("EXTEND", True), card("DATE", DATE),
            card("FILENAME", filename(exposure.rootname, "trl")),
        ]
    )  # fmt: skip
    return [first, ascii_table([line[:_LINE].ljust(_LINE) for line in lines], [column], [], name="trl", version=None)]


def single(exposure: Exposure) -> Exposure:
    """Return the exposure under the name of its jitter files: ``j`` takes the place of the source letter."""
    return replace(exposure, rootname=exposure.rootname[:-1] + "j", members=())


def _table_of(exposure: Exposure) -> Value:
    return values_of(exposure)["ASN_TAB"]


def _jitter_primary(exposure: Exposure) -> list[str]:
    return [
        card("FILETYPE", "JTB", "type of data in this file"), card("TELESCOP", "HST"), card("INSTRUME", "FGS"),
        card("EQUINOX", 2000.0), card("OPUS_VER", "HSTDP 2024_1"), card("PDB_VER", "CCS"),
        card("ROOTNAME", exposure.rootname), card("TARGNAME", exposure.target.name), card("PROC_TYP", "NORMAL"),
        card("CONFIG", f"{exposure.instrument}/{exposure.detector}"), card("PROPOSID", exposure.program.number),
        card("PROGRMID", exposure.rootname[1:4].upper()), *title("association keywords"),
        card("ASN_ID", exposure.association.upper()), card("ASN_TAB", _table_of(exposure)),
    ]  # fmt: skip


def _jitter(exposure: Exposure, scale: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    count = list_length(int(exposure.seconds / 3), scale)
    rng = generator(seed, exposure.rootname, "jitter")
    rows = np.zeros(count, [(name, kind) for name, kind, _ in _JITTER])
    rows["Seconds"] = 3.0 * np.arange(count) + 2.95
    for axis in ("V2", "V3"):
        # 3 to 7 milliarcseconds, with the slow swing of an orbit
        rows[f"SI_{axis}_AVG"] = rng.normal(0, 0.003, count) + 0.001 * np.sin(rows["Seconds"] / 300)
        rows[f"SI_{axis}_RMS"] = rng.gamma(9.0, 0.0003, count)
        rows[f"SI_{axis}_P2P"] = 4 * rows[f"SI_{axis}_RMS"]
    rows["RA"] = exposure.target.ra + rng.normal(0, 1e-6, count)
    rows["DEC"] = exposure.target.dec + rng.normal(0, 1e-6, count)
    rows["Roll"] = exposure.angle % 360 + rng.normal(0, 1e-5, count)
    rows["LimbAng"] = 60 + 25 * np.sin(rows["Seconds"] / 900)
    rows["TermAng"] = 1.6e36  # undefined, as the telemetry has it
    rows["LOS_Zenith"] = 50 - 25 * np.sin(rows["Seconds"] / 900)
    rows["Latitude"] = 28.47 * np.sin(rows["Seconds"] / 910)
    rows["Longitude"] = (rows["Seconds"] / 14.7) % 360
    rows["Mag_V1"], rows["Mag_V2"], rows["Mag_V3"] = 0.05, 0.11, 0.35
    rows["TakeData"] = 1
    return rows


def _blanks() -> list[str]:
    """Return units that say nothing, which the jitter's last columns have."""
    return [card(f"TUNIT{number}", "") for number in range(23, 29)]
