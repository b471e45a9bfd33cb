"""Files of ACS and WFC3: exposures raw and calibrated, ramps, and combined images.

The order of HDUs and the numbers of cards are those of public products, named at each structure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.wcs import WCS

from hst_cloud.testing.demo import geometry, targets
from hst_cloud.testing.demo.blocks import Array, Value, card, constant, image, primary, title
from hst_cloud.testing.demo.exposures import DATE, Exposure, filename, history, section, values_of
from hst_cloud.testing.demo.geometry import DETECTORS, IR, Detector
from hst_cloud.testing.demo.headerlets import headerlet, history_table
from hst_cloud.testing.demo.scenes import Frame, expose, generator, render, scene
from hst_cloud.testing.demo.structures import structure

__all__ = [
    "acs_wfc_flc",
    "acs_wfc_flt",
    "acs_wfc_raw",
    "forget",
    "photometry",
    "sky_level",
    "wcs_of",
    "wfc3_ir_flt",
    "wfc3_ir_ima",
    "wfc3_ir_raw",
    "wfc3_uvis_flc",
    "wfc3_uvis_flt",
    "wfc3_uvis_raw",
]

_STEPS = ("DQICORR", "BLEVCORR", "BIASCORR", "DARKCORR", "FLATCORR", "PHOTCORR", "EXPSCORR")
_READ_NOISE = {"WFC": 4.2, "UVIS": 3.1, "IR": 15.0}  # electrons: the instruments' handbooks
_FULL_WELL = {"WFC": 80000.0, "UVIS": 68000.0, "IR": 78000.0}
_BIAS = {"WFC": (4200.0, 2.0), "UVIS": (2550.0, 1.56), "IR": (11200.0, 2.5)}  # counts, electrons per count
_READS = 4  # of an infrared ramp, the one before the exposure included
_UVIS_TABLES = [
    ("WCSDVARR", 1), ("WCSDVARR", 2), ("D2IMARR", 1), ("D2IMARR", 2),
    ("WCSDVARR", 3), ("WCSDVARR", 4), ("D2IMARR", 3), ("D2IMARR", 4),
]  # fmt: skip
_WFC_TABLES = [(name, version) for name in ("D2IMARR", "WCSDVARR") for version in (1, 2, 3, 4)]


@dataclass(frozen=True, slots=True)
class _Shot:
    """An exposure at a scale, with a seed: what an image is made of."""

    exposure: Exposure
    scale: int
    seed: int

    @property
    def detector(self) -> Detector:
        return DETECTORS[self.exposure.detector]

    @property
    def shape(self) -> tuple[int, int]:
        return self.detector.scaled_shape(self.scale)


@structure("flc", targets.SPIRAL_FIRST)
def acs_wfc_flc(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC calibrated exposure: 20 HDUs as in jbqf03gjq_flc.fits, HDRLETs 1, 2, 18 and 4 in that order."""
    parts = [_primary("acs.primary", exposure, "flc", nextend=19, count=285)]
    parts += _imsets(_Shot(exposure, scale, seed), ((241, 53, 45), (256, 53, 45)), "acs.sci")
    parts += geometry.distortion_parts(scale, _WFC_TABLES, chipcard=True).values()
    parts.append(headerlet(exposure, 1, scale, small=True))
    parts.append(headerlet(exposure, 2, scale))
    parts.append(history_table(exposure, 14, scale))
    return [*parts, headerlet(exposure, 18, scale), headerlet(exposure, 4, scale)]


@structure("flt", targets.SPIRAL_FIRST)
def acs_wfc_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC calibrated exposure without headerlets: 16 HDUs as in jczgx1ppq_flc.fits."""
    parts = [_primary("acs.primary", exposure, "flt", nextend=15, count=279)]
    parts += _imsets(_Shot(exposure, scale, seed), ((200, 56, 48), (198, 56, 48)), "acs.sci")
    parts += geometry.distortion_parts(scale, _WFC_TABLES, chipcard=False).values()
    return [*parts, history_table(exposure, 14, scale)]


@structure("raw", targets.SPIRAL_FIRST)
def acs_wfc_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC raw exposure: ERR and DQ are constants; cards as in j6gp01mkq_raw.fits."""
    parts = [_primary("acs.primary", exposure, "raw", nextend=6, count=221, raw=True)]
    return parts + _raw_imsets(_Shot(exposure, scale, seed), (2068, 4144), (86, 49, 43))


@structure("flc", targets.CLUSTER_UVIS_FIRST)
def wfc3_uvis_flc(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS calibrated exposure: 24 HDUs as in icb701osq_flc.fits, headerlets first."""
    parts = [_primary("wfc3.uvis.primary", exposure, "flc", nextend=23, count=305)]
    parts += _imsets(_Shot(exposure, scale, seed), ((224, 51, 43), (220, 51, 43)), "wfc3.uvis.sci")
    parts.append(headerlet(exposure, 1, scale, small=True))
    parts += [headerlet(exposure, version, scale) for version in (2, 3, 4, 5)]
    parts.append(history_table(exposure, 14, scale))
    parts += geometry.distortion_parts(scale, _UVIS_TABLES, chipcard=False).values()
    return parts + [headerlet(exposure, version, scale) for version in (6, 7, 8)]


@structure("flt", targets.CLUSTER_UVIS_FIRST)
def wfc3_uvis_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS calibrated exposure without headerlets: 16 HDUs; cards as in icb701osq_flc.fits."""
    parts = [_primary("wfc3.uvis.primary", exposure, "flt", nextend=15, count=305)]
    parts += _imsets(_Shot(exposure, scale, seed), ((224, 51, 43), (220, 51, 43)), "wfc3.uvis.sci")
    parts.append(history_table(exposure, 14, scale))
    return [*parts, *geometry.distortion_parts(scale, _UVIS_TABLES, chipcard=False).values()]


@structure("raw", targets.CLUSTER_UVIS_FIRST)
def wfc3_uvis_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS raw exposure, (2070, 4206): WFC3 Data Handbook 2.2; cards as in ACS, no listing was found."""
    parts = [_primary("wfc3.uvis.primary", exposure, "raw", nextend=6, count=262, raw=True)]
    return parts + _raw_imsets(_Shot(exposure, scale, seed), (2070, 4206), (86, 49, 43))


@structure("flt", targets.CLUSTER_IR_FIRST)
def wfc3_ir_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR calibrated exposure: 7 HDUs as in iczgs3ygq_flt.fits."""
    parts = [_primary("wfc3.ir.primary", exposure, "flt", nextend=6, count=265)]
    parts += _imsets(_Shot(exposure, scale, seed), ((140, 51, 43),), "wfc3.ir.sci")
    values, shape = values_of(exposure), IR.scaled_shape(scale)
    place = _place(_Shot(exposure, scale, seed), 1)
    for name, unit, data in (
        ("SAMP", "SAMPLES", np.full(shape, 13, np.int16)),
        ("TIME", "SECONDS", np.full(shape, exposure.seconds, np.float32)),
    ):
        parts.append(image(data, [*_names(values, unit), *place], name=name, count=37))
    return [*parts, history_table(exposure, 7, scale)]


@structure("ima", targets.CLUSTER_IR_FIRST)
def wfc3_ir_ima(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR ramp: four reads, the last first, SAMP and TIME as constants; cards as in ibxy07p9q_ima.fits."""
    shot, values = _Shot(exposure, scale, seed), values_of(exposure)
    parts = [_primary("wfc3.ir.primary", exposure, "ima", nextend=5 * _READS, count=260)]
    pixels = [one for one in section("image.pixels", values) if not one.startswith(("RAW_LTV", "LTV"))]
    place = [*title("World Coordinate System and Related Parameters"), *_linear(shot, 1, _edge(shot))]
    for version, (electrons, seconds) in enumerate(_ramp(shot), 1):
        divisor = seconds or 1.0
        science = (electrons / divisor).astype(np.float32)
        error = (np.sqrt(np.maximum(electrons, 0) + _READ_NOISE["IR"] ** 2) / divisor).astype(np.float32)
        head = [*_names(values, "ELECTRONS/S"), *place]
        whole = [*head, *pixels, *section("raw.sci", values | _statistics(science))]
        small = [*head, *pixels, *section("image.statistics", values | _statistics(error))]
        flags = [*_names(values, "UNITLESS"), *place, *pixels[:5]]
        parts += [
            image(science, whole, name="SCI", version=version, count=81),
            image(error, small, name="ERR", version=version, count=43),
            image(np.zeros(science.shape, np.int16), flags, name="DQ", version=version, count=35),
            *_read_of(shot, place, version, seconds),
        ]
    return parts


@structure("raw", targets.CLUSTER_IR_FIRST)
def wfc3_ir_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR raw ramp: four reads, the last first; all but SCI are constants; no listing was found."""
    shot, values = _Shot(exposure, scale, seed), values_of(exposure)
    parts = [_primary("wfc3.ir.primary", exposure, "raw", nextend=5 * _READS, count=240, raw=True)]
    place = [*title("World Coordinate System and Related Parameters"), *_linear(shot, 1, _edge(shot))]
    bias, gain = _BIAS["IR"]
    for version, (electrons, seconds) in enumerate(_ramp(shot), 1):
        science = np.clip(bias + electrons / gain, 0, 65535).astype(np.uint16)
        head = [*_names(values, "COUNTS"), *place, *section("raw.sci", values | _statistics(science))]
        parts.append(image(science, head, name="SCI", version=version, count=81))
        for name, unit in (("ERR", "COUNTS"), ("DQ", "UNITLESS")):
            cards = [*_names(values, unit), *place]
            parts.append(constant(0, science.shape, cards, name=name, version=version, count=30))
        parts += _read_of(shot, place, version, seconds)
    return parts


def photometry(exposure: Exposure) -> dict[str, Value]:
    """Return the photometric keywords of an exposure; the filters of the demonstration alone are known."""
    flam, pivot, width = {
        "F814W": (7.0769e-20, 8045.53, 653.11),
        "F606W": (7.8098e-20, 5921.88, 672.31),
        "F555W": (1.8379e-19, 5307.91, 517.13),
        "F110W": (1.5318e-20, 11534.46, 1428.48),
    }.get(exposure.elements[-1], (1e-19, 6000.0, 600.0))
    mode = f"{exposure.instrument} {exposure.detector} {exposure.elements[-1]} MJD#{exposure.start:.4f}"
    return {"PHOTFLAM": flam, "PHOTPLAM": pivot, "PHOTBW": width, "PHOTMODE": mode}


def sky_level(exposure: Exposure) -> float:
    """Return what AstroDrizzle would call the sky: electrons per pixel, or per second for the infrared."""
    detector = DETECTORS[exposure.detector]
    background = scene(exposure.target.name, (exposure.target.ra, exposure.target.dec), 0).background
    return background * detector.pixel**2 * (1.0 if detector is IR else exposure.seconds)


def forget() -> None:
    """Free what was kept between the files of one exposure."""
    _frame.cache_clear()
    wcs_of.cache_clear()


def _primary(name: str, exposure: Exposure, suffix: str, *, nextend: int, count: int, raw: bool = False) -> bytes:
    values = values_of(exposure) | photometry(exposure)
    cards = section(name, values)
    if raw:
        cards = [one.replace("'COMPLETE'", "'PERFORM '") for one in cards if not one.startswith(("CAL_VER", "PHOTFL"))]
        cards = cards[: count - 8 + sum(one.startswith(" ") for one in cards)]
    else:
        cards += [
            card("DISTNAME", f"{exposure.rootname}_demo1536-demo1537-demo1538"),
            card("SIPNAME", f"{exposure.rootname}_demo1536"),
        ]
    named = filename(exposure.rootname, suffix)
    return primary(cards, filename=named, nextend=nextend, date=DATE, count=count, filler=history(_STEPS))


def _ramp(shot: _Shot) -> list[tuple[Array, float]]:
    """Return electrons and seconds at each read, the last read first; a pixel only climbs, but for the noise."""
    shape, (left, below) = (1024 // shot.scale, 1024 // shot.scale), _edge(shot)
    seconds = np.linspace(0.0, shot.exposure.seconds, _READS)
    rng = generator(shot.seed, shot.exposure.rootname, "ramp")
    rate = np.zeros(shape)  # the pixels at the edges are references, which see no light
    rate[below : below + shot.shape[0], left : left + shot.shape[1]] = _rate(shot, 1)
    steps = rng.poisson(np.multiply.outer(np.diff(seconds), rate))
    electrons = np.concatenate([np.zeros((1, *shape)), steps.cumsum(axis=0)])
    noisy = electrons + rng.normal(0.0, _READ_NOISE["IR"], electrons.shape)
    return [(noisy[n], float(seconds[n])) for n in reversed(range(_READS))]


def _edge(shot: _Shot) -> tuple[int, int]:
    edge = (1024 // shot.scale - shot.shape[0]) // 2
    return edge, edge


def _read_of(shot: _Shot, place: list[str], version: int, seconds: float) -> list[bytes]:
    """Return SAMP and TIME of a read: the same number for every pixel."""
    shape = (1024 // shot.scale, 1024 // shot.scale)
    parts = []
    for name, unit, number, bitpix in (
        ("SAMP", "SAMPLES", _READS - version + 1, 16),
        ("TIME", "SECONDS", seconds, -32),
    ):
        cards = [*_names(values_of(shot.exposure), unit), *place]
        parts.append(constant(number, shape, cards, name=name, version=version, bitpix=bitpix, count=30))
    return parts


def _imsets(shot: _Shot, counts: tuple[tuple[int, int, int], ...], name: str) -> list[bytes]:
    """Return SCI, ERR and DQ of every chip; `counts` are the numbers of their cards."""
    exposure, infrared = shot.exposure, shot.detector is IR
    unit, divisor = ("ELECTRONS/S", exposure.seconds) if infrared else ("ELECTRONS", 1.0)
    parts = []
    for number, (sci, err, dq) in enumerate(counts, 1):
        frame = _frame(shot, number)
        science = (frame.science / divisor).astype(np.float32)
        error = (frame.error / divisor).astype(np.float32)
        values = values_of(exposure) | photometry(exposure) | {"CCDCHIP": shot.detector.chips[number - 1].number}
        values["MDRIZSKY"] = sky_level(exposure)
        own = section(name, values | _statistics(science))
        solution = geometry.solution_cards(exposure, number, shot.scale)
        footprint = geometry.region_card(geometry.corners(wcs_of(exposure, number, shot.scale), shot.shape))
        cards = [*own[:2], card("BUNIT", unit, "unit of the pixels"), *own[2:], *solution, footprint]
        place = _place(shot, number)
        small = [*_names(values, unit), *place, *section("image.statistics", values | _statistics(error))]
        extra = [card("WCSNAME", "IDC_demo1536"), card("MJDREF", 0.0)]
        quality = [*_names(values, "UNITLESS"), *place, *extra]
        cards = _with_alternates(cards, sci, shot, number)
        parts += [
            image(science, cards, name="SCI", version=number, count=sci, filler=_leftovers()),
            image(error, [*small, *extra], name="ERR", version=number, count=err),
            image(frame.quality, quality, name="DQ", version=number, count=dq),
        ]
    return parts


@lru_cache(maxsize=2)
def _frame(shot: _Shot, number: int) -> Frame:
    """Return the pixels of the chip of EXTVER `number`; the files of one exposure show the same."""
    detector, exposure = shot.detector, shot.exposure
    return expose(
        _rate(shot, number),
        exposure.seconds,
        generator(shot.seed, exposure.rootname, number),
        read_noise=_READ_NOISE[exposure.detector],
        full_well=_FULL_WELL[exposure.detector],
        cosmic=detector is not IR,  # the infrared ramps are cleaned by their fit
    )


def _rate(shot: _Shot, number: int) -> Array:
    target = shot.exposure.target
    view = scene(target.name, (target.ra, target.dec), shot.seed)
    wcs = wcs_of(shot.exposure, number, shot.scale)
    return render(view, wcs, shot.shape, pixel=shot.detector.pixel, scale=shot.scale)


@lru_cache(maxsize=8)
def wcs_of(exposure: Exposure, number: int, scale: int) -> WCS:
    """Return the solution of the chip of EXTVER `number`."""
    cards = geometry.solution_cards(exposure, number, scale)
    return geometry.wcs(cards, scale, tables=DETECTORS[exposure.detector].tables)


def _raw_imsets(shot: _Shot, full: tuple[int, int], counts: tuple[int, int, int]) -> list[bytes]:
    exposure, shape = shot.exposure, (full[0] // shot.scale, full[1] // shot.scale)
    level, gain = _BIAS[exposure.detector]
    parts = []
    for number, chip in enumerate(shot.detector.chips, 1):
        frame = _frame(shot, number)
        rng = generator(shot.seed, exposure.rootname, number, "bias")
        pixels = rng.normal(level, _READ_NOISE[exposure.detector] / gain, shape)
        rows, columns = frame.science.shape
        left = (shape[1] - columns) // 2  # the overscan lies on both sides and above
        pixels[:rows, left : left + columns] += frame.science / gain
        science = np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)
        values, place = values_of(exposure), _place(shot, number, (left, 0))
        own = [card("CCDCHIP", chip.number, "chip"), *place, *section("raw.sci", values | _statistics(science))]
        parts += [
            image(science, [*_names(values, "COUNTS"), *own], name="SCI", version=number, count=counts[0]),
            constant(0.0, shape, [*_names(values, "COUNTS"), *place], name="ERR", version=number, count=counts[1]),
            constant(0, shape, [*_names(values, "UNITLESS"), *place], name="DQ", version=number, count=counts[2]),
        ]
    return parts


def _place(shot: _Shot, number: int, edge: tuple[int, int] = (0, 0)) -> list[str]:
    """Return the cards that tell where an extension's pixels lie, without distortion."""
    cards = [*title("World Coordinate System and Related Parameters"), *_linear(shot, number, edge)]
    pixels = section("image.pixels", values_of(shot.exposure) | {"LTV1": float(edge[0]), "LTV2": float(edge[1])})
    return cards + [one for one in pixels if shot.exposure.instrument == "ACS" or not one.startswith("RAW_LTV")]


def _names(values: dict[str, Value], unit: str) -> list[str]:
    return [
        card("ROOTNAME", values["ROOTNAME"], "rootname of the observation set"),
        card("EXPNAME", values["EXPNAME"], "exposure identifier"),
        card("BUNIT", unit, "unit of the pixels"),
    ]


def _linear(shot: _Shot, number: int, edge: tuple[int, int] = (0, 0)) -> list[str]:
    """Return the linear solution of an image with `edge` more pixels to the left and below."""
    linear = geometry.solution(shot.exposure, number, shot.scale)
    shifted = {"CRPIX1": linear["CRPIX1"] + edge[0], "CRPIX2": linear["CRPIX2"] + edge[1]}
    return geometry.linear_cards(linear | shifted)


def _statistics(data: Array) -> dict[str, Value]:
    return {
        "NGOODPIX": int(data.size),
        "GOODMIN": round(float(data.min()), 4),
        "GOODMAX": round(float(data.max()), 4),
        "GOODMEAN": round(float(data.mean()), 4),
    }


def _with_alternates(cards: list[str], count: int, shot: _Shot, number: int) -> list[str]:
    """Return `cards` with as many alternate solutions as there is room for."""
    cards = list(cards)
    for key in "OABCDEFG":
        more = geometry.alternate_cards(shot.exposure, number, shot.scale, key)
        if len(cards) + len(more) + 10 > count:  # an image extension begins with ten cards
            break
        cards += more
    return cards


def _leftovers() -> Iterator[str]:
    for name in ("TDDALPHA", "TDDBETA", "TDD_CTA", "TDD_CTB", "TDD_CYA", "TDD_CYB", "TDD_CXA", "TDD_CXB"):
        yield card(name, None, "time-dependent distortion, not used")
    for name in ("IDCXREF", "IDCYREF", "IDCV2REF", "IDCV3REF", "OCX10", "OCX11", "OCY10", "OCY11"):
        yield card(name, 0.0, "original term of the distortion model")
    yield card("D2IMEXT", "jref$demo1538j_d2i.fits")
    yield card("NPOLEXT", "jref$demo1537j_npl.fits")
