"""Combined images of ACS and WFC3: drizzled on a plane, with weights, contexts and the headers of what went in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

import numpy as np
from astropy.wcs import WCS

from hst_cloud.testing.demo import geometry, targets
from hst_cloud.testing.demo.blocks import Array, Value, binary_table, card, image, primary, text_of, title
from hst_cloud.testing.demo.exposures import DATE, Exposure, filename, history, keywords, section, statements, values_of
from hst_cloud.testing.demo.geometry import DETECTORS
from hst_cloud.testing.demo.imaging import photometry, sky_level, wcs_of
from hst_cloud.testing.demo.scenes import generator, render, scene
from hst_cloud.testing.demo.structures import structure

__all__ = ["acs_wfc_drc", "acs_wfc_drz", "forget", "wfc3_ir_drz", "wfc3_uvis_drc"]

_STEPS = ("DARKCORR", "FLATCORR", "PHOTCORR", "EXPSCORR", "DRIZCORR")

# What AstroDrizzle writes of each image that went in: D001VER and so on.
_DRIZZLE: tuple[tuple[str, Value], ...] = (
    ("VER", "3.5.1"), ("GEOM", "User parameters"), ("DATA", ""), ("DEXP", 0.0), ("OUDA", ""), ("OUWE", ""),
    ("OUCO", ""), ("MASK", ""), ("WTSC", 0.0), ("KERN", "square"), ("PIXF", 1.0), ("COEF", "SIP"), ("OUUN", "cps"),
    ("FVAL", "INDEF"), ("WKEY", ""), ("SCAL", 0.05), ("ISCL", 0.05),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tells the combined images of one detector from those of another."""

    suffix: str
    shape: tuple[int, int]
    """Rows and columns at full size."""
    cards: tuple[int, int, int, int]
    """Of the primary header, SCI, WHT and CTX."""
    columns: int
    """Of HDRTAB."""


@structure("drz", targets.SPIRAL_FIVE)
def acs_wfc_drz(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC combined image: as jbeveo010_drz.fits, whose five exposures fill 857 cards and ten rows of headers."""
    return _acs(exposure, scale, seed, "drz")


@structure("drc", targets.SPIRAL_FIVE)
def acs_wfc_drc(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC combined image of exposures corrected for charge transfer: the structure of drz."""
    return _acs(exposure, scale, seed, "drc")


@structure("drc", targets.CLUSTER_UVIS)
def wfc3_uvis_drc(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS combined image: cards and columns as in ifry01e??_drc.fits, full frame."""
    return _combined(exposure, scale, seed, _Kind("drc", (4380, 4436), (811, 86, 45, 40), 276))


@structure("drz", targets.CLUSTER_IR)
def wfc3_ir_drz(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR combined image: no listing was found, cards and columns as in UVIS."""
    return _combined(exposure, scale, seed, _Kind("drz", (1024, 1114), (746, 86, 45, 40), 276))


def forget() -> None:
    """Free what was kept between the products of one association."""
    _planes.cache_clear()


def _acs(exposure: Exposure, scale: int, seed: int, suffix: str) -> list[bytes]:
    # two public products are known: 753 cards for two exposures (j8ck01041), 857 for five (jbeveo010)
    first = 857 if len(exposure.members) >= 5 else 753
    return _combined(exposure, scale, seed, _Kind(suffix, (4313, 4240), (first, 82, 44, 37), 293))


def _combined(exposure: Exposure, scale: int, seed: int, kind: _Kind) -> list[bytes]:
    shape = kind.shape[0] // scale, kind.shape[1] // scale
    linear = _plane(exposure, DETECTORS[exposure.detector].pixel * scale, shape)
    wcs = geometry.wcs(geometry.linear_cards(linear), scale, tables=False)
    science, weight, context = _planes(exposure.named(exposure.association), shape, scale, seed)
    values = values_of(exposure) | photometry(exposure) | {"MDRIZSKY": sky_level(exposure)}
    stats: dict[str, Value] = {
        "GOODMIN": round(float(science.min()), 4),
        "GOODMAX": round(float(science.max()), 4),
        "GOODMEAN": round(float(science.mean()), 4),
    }
    place = geometry.linear_cards(linear)
    plane = [*place, *section("drz.plane", values)]
    main = [
        card("ROOTNAME", exposure.rootname),
        card("BUNIT", "ELECTRONS/S", "unit of the pixels"),
        *place,
        *section("drz.sci", values | stats),
        card("WCSNAME", "IDC_demo1536-FIT_REL_GAIAeDR3"),
        card("IDCTAB", "jref$demo1536j_idc.fits"),
        geometry.region_card(geometry.corners(wcs, shape)),
    ]
    # full fits: three planes, and a row of headers for every chip
    return [
        _primary(exposure, kind.suffix, kind.cards[0]),
        image(science, main, name="SCI", count=kind.cards[1], filler=_solution_leftovers()),
        image(weight, [*plane, *_leftover()], name="WHT", count=kind.cards[2]),
        image(context, plane, name="CTX", count=kind.cards[3], filler=_leftover()),
        _headers_table(exposure, scale, kind.columns),
    ]


@lru_cache(maxsize=1)
def _planes(exposure: Exposure, shape: tuple[int, int], scale: int, seed: int) -> tuple[Array, Array, Array]:
    """Return SCI, WHT and CTX; the several products of one association show the same."""
    pixel = DETECTORS[exposure.detector].pixel
    wcs = geometry.wcs(geometry.linear_cards(_plane(exposure, pixel * scale, shape)), scale, tables=False)
    view = scene(exposure.target.name, (exposure.target.ra, exposure.target.dec), seed)
    weight, context = _coverage(exposure, wcs, shape, scale)
    rate = render(view, wcs, shape, pixel=pixel, scale=scale)
    time = np.maximum(weight, 1.0)
    deviation = np.sqrt(rate * time + 16.0 * max(len(exposure.members), 1)) / time
    noise = generator(seed, exposure.rootname, "drizzle").normal(size=shape)
    sky = view.background * pixel**2  # AstroDrizzle subtracts it
    science = np.where(weight > 0, rate - sky + deviation * noise, 0.0).astype(np.float32)
    return science, weight, context


def _plane(exposure: Exposure, pixel: float, shape: tuple[int, int]) -> dict[str, float]:
    """Return the linear keywords of the plane on which exposures are combined.

    The detectors' axes are not at right angles on the sky; the plane's lie as far from the one as from the other.
    """
    linear = DETECTORS[exposure.detector].chips[0].linear
    turn, step = np.radians(exposure.angle) + np.arctan2(linear[2], -linear[0]) / 2, pixel / 3600
    sine, cosine = float(np.sin(turn) * step), float(np.cos(turn) * step)
    return {
        "CRPIX1": shape[1] / 2 + 0.5, "CRPIX2": shape[0] / 2 + 0.5,
        "CRVAL1": exposure.target.ra, "CRVAL2": exposure.target.dec,
        "CD1_1": -cosine, "CD1_2": sine, "CD2_1": sine, "CD2_2": cosine,
    }  # fmt: skip


def _coverage(exposure: Exposure, wcs: WCS, shape: tuple[int, int], scale: int) -> tuple[Array, Array]:
    """Return the seconds that each pixel of the plane was exposed, and one bit for each chip that saw it."""
    weight, context = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    detector = DETECTORS[exposure.detector]
    bit = 0
    for member in exposure.members or (exposure,):
        for number in range(1, len(detector.chips) + 1):
            chip = wcs_of(member, number, scale)
            inside = _inside(wcs.all_world2pix(geometry.corners(chip, detector.scaled_shape(scale)), 0), shape)
            weight[inside] += member.seconds
            context[inside] |= 1 << bit
            bit += 1
    return weight, context


def _inside(corners: Array, shape: tuple[int, int]) -> Array:
    """Tell which pixels lie inside the convex quadrilateral of `corners`."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    sides = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        sides.append((end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0]) > 0)
    left: Array = np.logical_and.reduce(sides)
    return left if left.any() else ~np.logical_or.reduce(sides)


def _primary(exposure: Exposure, suffix: str, count: int) -> bytes:
    values = values_of(exposure) | photometry(exposure)
    values["ROOTNAME"] = exposure.rootname
    cards = section(_section(exposure), values | {"NDRIZIM": 2 * len(exposure.members)})
    cards.append(card("NDRIZIM", 2 * len(exposure.members), "images drizzled onto the output"))
    for number, member in enumerate(exposure.members[:10], 1):
        named = filename(member.rootname, "flc" if suffix == "drc" else "flt")
        for key, value in _DRIZZLE:
            own: dict[str, Value] = {"DATA": f"{named}[sci,1]", "DEXP": member.seconds, "WTSC": member.seconds}
            cards.append(card(f"D{number:03d}{key}", own.get(key, value), "drizzle"))
    cards += history(_STEPS)
    return primary(
        cards, filename=filename(exposure.rootname, suffix), nextend=4, date=DATE, count=count,
        filler=_rules(exposure),
    )  # fmt: skip


def _rules(exposure: Exposure) -> Iterator[str]:
    """Yield the history in which AstroDrizzle tells by which rules it joined headers: most of the header's length."""
    names = sorted(keywords(_section(exposure)))
    lines = ["=" * 60, "Header Generation rules:", "    Rules used to combine headers of input files"]
    lines += ["    Start of rules...", "-" * 60, "!VERSION = 1.1", f"!INSTRUMENT = {exposure.instrument}"]
    lines += names
    lines += [f"{name:<9} {name:<9} first" for name in names]
    for line in lines:
        yield f"HISTORY {line}".ljust(80)


def _section(exposure: Exposure) -> str:
    return {"WFC": "acs.primary", "UVIS": "wfc3.uvis.primary", "IR": "wfc3.ir.primary"}[exposure.detector]


def _headers_table(exposure: Exposure, scale: int, columns: int) -> bytes:
    """Return HDRTAB: a row for each chip of each exposure, a column for each keyword of theirs."""
    detector = DETECTORS[exposure.detector]
    rows = [
        _header_of(member, number, scale)
        for member in exposure.members or (exposure,)
        for number in range(1, len(detector.chips) + 1)
    ]
    first = ["ROOTNAME", "EXTNAME", "EXTVER"]
    rest = sorted(set(rows[0]) - set(first))
    # what fills the table's width is what is left of earlier years
    names = [
        *first,
        *sorted([*rest[: columns - 3], *islice(keywords("hdrtab.bygone"), max(columns - 3 - len(rest), 0))]),
    ]
    dtype, formats = [], {}
    for name in names:
        kind, form = _column([row.get(name) for row in rows])
        dtype.append((name, kind))
        formats[name] = form
    table = np.zeros(len(rows), dtype)
    for name, kind in dtype:
        for number, row in enumerate(rows):
            value = row.get(name)
            if kind == "S1" and isinstance(value, bool):
                value = "T" if value else "F"
            table[name][number] = np.nan if value is None else value
    return binary_table(table, [], name="HDRTAB", version=None, formats=formats)


def _column(values: list[Value]) -> tuple[str, str]:
    """Return type and TFORM of a column that holds `values`; a keyword that is nowhere makes a column of NaN."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "S1", "L"
    if kinds == {int}:
        return ">i8", "K"
    if kinds == {str}:
        width = max(len(str(value)) for value in values) or 1
        return f"S{width}", f"{width}A"
    return ">f8", "D"


def _header_of(member: Exposure, number: int, scale: int) -> dict[str, Value]:
    detector = DETECTORS[member.detector]
    kind = {"WFC": "acs.sci", "UVIS": "wfc3.uvis.sci", "IR": "wfc3.ir.sci"}[member.detector]
    values = values_of(member) | photometry(member) | {"CCDCHIP": detector.chips[number - 1].number}
    values["MDRIZSKY"] = sky_level(member)
    said = dict(chain(statements(_section(member), values), statements(kind, values)))
    solved = text_of(geometry.solution_cards(member, number, scale, tables=False))
    rows, length = detector.scaled_shape(scale)
    fixed: dict[str, Value] = {
        "EXTNAME": "SCI", "EXTVER": number, "NAXIS": 2, "NAXIS1": length, "NAXIS2": rows, "BITPIX": -32, "PCOUNT": 0,
        "GCOUNT": 1, "XTENSION": "IMAGE", "SIMPLE": True, "EXTEND": True, "INHERIT": True, "DATE": DATE,
        "FILENAME": filename(member.rootname, "flc"), "NEXTEND": 19, "BUNIT": "ELECTRONS",
        "ORIGIN": "HSTIO/CFITSIO March 2010",
    }  # fmt: skip
    return {key: value for key, value in said.items() if key} | dict(solved) | fixed


def _leftover() -> list[str]:
    cards = [card("WCSNAME", "IDC_demo1536-FIT_REL_GAIAeDR3"), card("CRDER1", 3.9e-06), card("CRDER2", 1.8e-06)]
    return [*cards, card("GOODMIN", 0.0), card("GOODMAX", 0.0), card("GOODMEAN", 0.0), *title("image statistics")[1:2]]


def _solution_leftovers() -> list[str]:
    return [
        card("CRDER1", 1.7e-06), card("CRDER2", 1.6e-06), card("RMS_RA", 6.2), card("RMS_DEC", 5.7),
        card("NMATCHES", 212), card("FITGEOM", "rscale"), card("MJDREF", 0.0), card("LTV1", 0.0), card("LTV2", 0.0),
        card("HDRNAME", "demonstration_hlet.fits"), card("WCSTYPE", "undistorted"), card("SOFTERRS", 0),
        card("FILLCNT", 0), card("ERRCNT", 0), card("BINAXIS1", 1), card("BINAXIS2", 1), card("EXPNAME", ""),
        card("SDQFLAGS", 31743), card("MEANDARK", 0.0), card("MEANBLEV", 0.0), card("IDCSCALE", 0.05),
    ]  # fmt: skip
