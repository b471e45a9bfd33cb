"""Files of ACS and WFC3: exposures raw and calibrated, ramps, and combined images.

The order of HDUs and the numbers of cards are those of public products, named at each structure.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hst_cloud.testing import geometry, targets
from hst_cloud.testing.blocks import Array, Value, card, constant, image, primary, title
from hst_cloud.testing.exposures import DATE, Exposure, filename, history, section, values_of
from hst_cloud.testing.geometry import IR, UVIS, WFC, Detector
from hst_cloud.testing.headerlets import headerlet, history_table
from hst_cloud.testing.scenes import Frame, expose, generator, render, scene
from hst_cloud.testing.structures import structure

__all__ = [
    "acs_wfc_flc",
    "acs_wfc_flt",
    "acs_wfc_raw",
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
_UVIS_TABLES = [
    ("WCSDVARR", 1), ("WCSDVARR", 2), ("D2IMARR", 1), ("D2IMARR", 2),
    ("WCSDVARR", 3), ("WCSDVARR", 4), ("D2IMARR", 3), ("D2IMARR", 4),
]  # fmt: skip
_WFC_TABLES = [(name, version) for name in ("D2IMARR", "WCSDVARR") for version in (1, 2, 3, 4)]


@structure("flc", targets.SPIRAL_FIRST)
def acs_wfc_flc(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC calibrated exposure: 20 HDUs as in jbqf03gjq_flc.fits, HDRLETs 1, 2, 18 and 4 in that order."""
    parts = [_primary("acs.primary", exposure, "flc", nextend=19, count=285)]
    parts += _imsets(WFC, exposure, scale, seed, ((241, 53, 45), (256, 53, 45)), "acs.sci")
    parts += geometry.distortion_parts(scale, _WFC_TABLES, chipcard=True).values()
    parts.append(headerlet(WFC, exposure, 1, scale, small=True))
    parts.append(headerlet(WFC, exposure, 2, scale))
    parts.append(history_table(WFC, exposure, 14, scale))
    return [*parts, headerlet(WFC, exposure, 18, scale), headerlet(WFC, exposure, 4, scale)]


@structure("flt", targets.SPIRAL_FIRST)
def acs_wfc_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC calibrated exposure without headerlets: 16 HDUs as in jczgx1ppq_flc.fits."""
    parts = [_primary("acs.primary", exposure, "flt", nextend=15, count=279)]
    parts += _imsets(WFC, exposure, scale, seed, ((200, 56, 48), (198, 56, 48)), "acs.sci")
    parts += geometry.distortion_parts(scale, _WFC_TABLES, chipcard=False).values()
    return [*parts, history_table(WFC, exposure, 14, scale)]


@structure("raw", targets.SPIRAL_FIRST)
def acs_wfc_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """ACS/WFC raw exposure: ERR and DQ are constants; cards as in j6gp01mkq_raw.fits."""
    parts = [_primary("acs.primary", exposure, "raw", nextend=6, count=221, raw=True)]
    return parts + _raw_imsets(WFC, exposure, scale, seed, (2068, 4144), (86, 49, 43))


@structure("flc", targets.CLUSTER_UVIS_FIRST)
def wfc3_uvis_flc(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS calibrated exposure: 24 HDUs as in icb701osq_flc.fits, headerlets first."""
    parts = [_primary("wfc3.uvis.primary", exposure, "flc", nextend=23, count=305)]
    parts += _imsets(UVIS, exposure, scale, seed, ((224, 51, 43), (220, 51, 43)), "wfc3.uvis.sci")
    parts.append(headerlet(UVIS, exposure, 1, scale, small=True))
    parts += [headerlet(UVIS, exposure, version, scale) for version in (2, 3, 4, 5)]
    parts.append(history_table(UVIS, exposure, 14, scale))
    parts += geometry.distortion_parts(scale, _UVIS_TABLES, chipcard=False).values()
    return parts + [headerlet(UVIS, exposure, version, scale) for version in (6, 7, 8)]


@structure("flt", targets.CLUSTER_UVIS_FIRST)
def wfc3_uvis_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS calibrated exposure without headerlets: 16 HDUs; cards as in icb701osq_flc.fits."""
    parts = [_primary("wfc3.uvis.primary", exposure, "flt", nextend=15, count=305)]
    parts += _imsets(UVIS, exposure, scale, seed, ((224, 51, 43), (220, 51, 43)), "wfc3.uvis.sci")
    parts.append(history_table(UVIS, exposure, 14, scale))
    return parts + [*geometry.distortion_parts(scale, _UVIS_TABLES, chipcard=False).values()]


@structure("raw", targets.CLUSTER_UVIS_FIRST)
def wfc3_uvis_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/UVIS raw exposure, (2070, 4206): WFC3 Data Handbook 2.2; cards as in ACS, no listing was found."""
    parts = [_primary("wfc3.uvis.primary", exposure, "raw", nextend=6, count=262, raw=True)]
    return parts + _raw_imsets(UVIS, exposure, scale, seed, (2070, 4206), (86, 49, 43))


@structure("flt", targets.CLUSTER_IR_FIRST)
def wfc3_ir_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR calibrated exposure: 7 HDUs as in iczgs3ygq_flt.fits."""
    parts = [_primary("wfc3.ir.primary", exposure, "flt", nextend=6, count=265)]
    parts += _imsets(IR, exposure, scale, seed, ((140, 51, 43),), "wfc3.ir.sci")
    values, shape = values_of(exposure), IR.scaled_shape(scale)
    place = _linear(IR, 1, exposure, scale)
    for name, unit, data in (
        ("SAMP", "SAMPLES", np.full(shape, 13, np.int16)),
        ("TIME", "SECONDS", np.full(shape, exposure.seconds, np.float32)),
    ):
        cards = [*_names(values, unit), *title("World Coordinate System and Related Parameters"), *place]
        parts.append(image(data, [*cards, *section("image.pixels", values)], name=name, count=37))
    return [*parts, history_table(IR, exposure, 7, scale)]


@structure("ima", targets.CLUSTER_IR_FIRST)
def wfc3_ir_ima(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR ramp: four reads, the last first, SAMP and TIME as constants; cards as in ibxy07p9q_ima.fits."""
    reads = 4
    parts = [_primary("wfc3.ir.primary", exposure, "ima", nextend=5 * reads, count=260)]
    values, shape = values_of(exposure), (1024 // scale, 1024 // scale)
    place = _linear(IR, 1, exposure, scale)
    rng = generator(seed, exposure.rootname, "ima")
    rate = _rate(IR, 1, exposure, scale, seed, shape)
    # what each interval adds, so that a pixel only climbs
    steps = rng.poisson(np.broadcast_to(rate * exposure.seconds / (reads - 1), (reads - 1, *shape))).cumsum(axis=0)
    for version in range(1, reads + 1):
        left = reads - version
        seconds = exposure.seconds * left / (reads - 1)
        electrons = steps[left - 1] if left else np.zeros(shape)
        science = ((electrons + rng.normal(0, 15.0, shape)) / (seconds or 1.0)).astype(np.float32)
        error = (np.sqrt(electrons + 15.0**2) / (seconds or 1.0)).astype(np.float32)
        head = [*_names(values, "ELECTRONS/S"), *title("World Coordinate System and Related Parameters"), *place]
        body = section("wfc3.ir.sci", values | _statistics(science) | {"SAMPNUM": left, "SAMPTIME": seconds})
        small = [*head, *section("image.statistics", values | _statistics(error))]
        parts += [
            image(science, [*head, *_without(body, head)], name="SCI", version=version, count=81),
            image(error, [*small, *section("image.pixels", values)], name="ERR", version=version, count=43),
            image(np.zeros(shape, np.int16), [*_quality(head)], name="DQ", version=version, count=35),
        ]
        for name, unit, number, bitpix in (("SAMP", "SAMPLES", left + 1, 16), ("TIME", "SECONDS", seconds, -32)):
            cards = [*_names(values, unit), *title("World Coordinate System and Related Parameters"), *place]
            parts.append(constant(number, shape, cards, name=name, version=version, bitpix=bitpix, count=30))
    return parts


@structure("raw", targets.CLUSTER_IR_FIRST)
def wfc3_ir_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """WFC3/IR raw ramp: four reads, the last first; ERR, DQ, SAMP and TIME as constants; no listing was found."""
    reads = 4
    parts = [_primary("wfc3.ir.primary", exposure, "raw", nextend=5 * reads, count=240, raw=True)]
    values, shape = values_of(exposure), (1024 // scale, 1024 // scale)
    place = _linear(IR, 1, exposure, scale)
    rng = generator(seed, exposure.rootname, "raw")
    rate = _rate(IR, 1, exposure, scale, seed, shape)
    bias, gain = _BIAS["IR"]
    for version in range(1, reads + 1):
        seconds = exposure.seconds * (reads - version) / (reads - 1)
        counts = bias + (rng.poisson(rate * seconds) + rng.normal(0, 15.0, shape)) / gain
        science = np.clip(counts, 0, 65535).astype(np.uint16)
        head = [*_names(values, "COUNTS"), *title("World Coordinate System and Related Parameters"), *place]
        body = section("raw.sci", values | _statistics(science))
        parts.append(image(science, [*head, *body], name="SCI", version=version, count=81))
        for name, unit, number, bitpix in (
            ("ERR", "COUNTS", 0.0, -32), ("DQ", "UNITLESS", 0, 16),
            ("SAMP", "SAMPLES", reads - version + 1, 16), ("TIME", "SECONDS", seconds, -32),
        ):  # fmt: skip
            cards = [*_names(values, unit), *title("World Coordinate System and Related Parameters"), *place]
            parts.append(constant(number, shape, cards, name=name, version=version, bitpix=bitpix, count=30))
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


def sky_level(detector: Detector, exposure: Exposure) -> float:
    """Return what AstroDrizzle would call the sky: electrons per pixel, or per second for the infrared."""
    background = scene(exposure.target.name, (exposure.target.ra, exposure.target.dec), 0).background
    return background * detector.pixel**2 * (1.0 if detector is IR else exposure.seconds)


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


def _imsets(
    detector: Detector, exposure: Exposure, scale: int, seed: int, counts: tuple[tuple[int, int, int], ...], name: str
) -> list[bytes]:
    """Return SCI, ERR and DQ of every chip; `counts` are the numbers of their cards."""
    parts = []
    rate_unit = detector is IR
    for number, (sci, err, dq) in enumerate(counts, 1):
        frame = frame_of(detector, number, exposure, scale, seed)
        chip = detector.chips[number - 1]
        values = values_of(exposure) | photometry(exposure) | {"CCDCHIP": chip.number}
        values["MDRIZSKY"] = sky_level(detector, exposure)
        unit = "ELECTRONS/S" if rate_unit else "ELECTRONS"
        divisor = exposure.seconds if rate_unit else 1.0
        science = (frame.science / divisor).astype(np.float32)
        error = (frame.error / divisor).astype(np.float32)
        solution = geometry.solution_cards(detector, number, exposure, scale)
        wcs = geometry.wcs(solution, scale, tables=detector.tables)
        solution.append(geometry.region_card(geometry.corners(wcs, frame.science.shape)))
        own = section(name, values | _statistics(science))
        cards = [*own[:2], card("BUNIT", unit, "unit of the pixels"), *own[2:], *solution]
        cards, filler = _padding(cards, sci, detector, number, exposure, scale)
        heading = title("World Coordinate System and Related Parameters")
        place = [*heading, *_linear(detector, number, exposure, scale), *section("image.pixels", values)]
        small = [*_names(values, unit), *place, *section("image.statistics", values | _statistics(error))]
        extra = [card("WCSNAME", "IDC_demo1536"), card("MJDREF", 0.0)]
        parts += [
            image(science, cards, name="SCI", version=number, count=sci, filler=filler),
            image(error, [*small, *extra], name="ERR", version=number, count=err),
            image(frame.quality, [*_names(values, "UNITLESS"), *place, *extra], name="DQ", version=number, count=dq),
        ]
    return parts


def frame_of(detector: Detector, number: int, exposure: Exposure, scale: int, seed: int) -> Frame:
    """Return the pixels of the chip of EXTVER `number`."""
    shape = detector.scaled_shape(scale)
    rate = _rate(detector, number, exposure, scale, seed, shape)
    return expose(
        rate,
        exposure.seconds,
        generator(seed, exposure.rootname, number),
        read_noise=_READ_NOISE[exposure.detector],
        full_well=_FULL_WELL[exposure.detector],
        cosmic=detector is not IR,  # the infrared ramps are cleaned by their fit
    )


def _rate(detector: Detector, number: int, exposure: Exposure, scale: int, seed: int, shape: tuple[int, int]) -> Array:
    view = scene(exposure.target.name, (exposure.target.ra, exposure.target.dec), seed)
    cards = geometry.solution_cards(detector, number, exposure, scale)
    wcs = geometry.wcs(cards, scale, tables=detector.tables)
    return render(view, wcs, shape, pixel=detector.pixel, scale=scale)


def _raw_imsets(
    detector: Detector, exposure: Exposure, scale: int, seed: int, full: tuple[int, int], counts: tuple[int, int, int]
) -> list[bytes]:
    shape = full[0] // scale, full[1] // scale
    level, gain = _BIAS[exposure.detector]
    parts = []
    for number in range(1, len(detector.chips) + 1):
        frame = frame_of(detector, number, exposure, scale, seed)
        rng = generator(seed, exposure.rootname, number, "bias")
        counts_of_pixels = rng.normal(level, _READ_NOISE[exposure.detector] / gain, shape)
        rows, columns = frame.science.shape
        left = (shape[1] - columns) // 2  # the overscan lies on both sides and above
        counts_of_pixels[:rows, left : left + columns] += frame.science / gain
        science = np.clip(np.rint(counts_of_pixels), 0, 65535).astype(np.uint16)
        values = values_of(exposure) | {"CCDCHIP": detector.chips[number - 1].number}
        place = [
            *title("World Coordinate System and Related Parameters"),
            *_linear(detector, number, exposure, scale),
            *section("image.pixels", values),
        ]
        chip = [card("CCDCHIP", detector.chips[number - 1].number, "chip")]
        body = [*_names(values, "COUNTS"), *chip, *place, *section("raw.sci", values | _statistics(science))]
        parts += [
            image(science, body, name="SCI", version=number, count=counts[0]),
            constant(0.0, shape, [*_names(values, "COUNTS"), *place], name="ERR", version=number, count=counts[1]),
            constant(0, shape, [*_names(values, "UNITLESS"), *place], name="DQ", version=number, count=counts[2]),
        ]
    return parts


def _names(values: dict[str, Value], unit: str) -> list[str]:
    return [
        card("ROOTNAME", values["ROOTNAME"], "rootname of the observation set"),
        card("EXPNAME", values["EXPNAME"], "exposure identifier"),
        card("BUNIT", unit, "unit of the pixels"),
    ]


def _quality(head: list[str]) -> list[str]:
    return [one if not one.startswith("BUNIT") else card("BUNIT", "UNITLESS", "unit of the pixels") for one in head]


def _without(cards: list[str], others: list[str]) -> list[str]:
    """Return `cards` less the keywords that `others` have."""
    known = {one[:8] for one in others if one[0] != " "}
    return [one for one in cards if one[:8] not in known]


def _linear(detector: Detector, number: int, exposure: Exposure, scale: int) -> list[str]:
    return geometry.linear_cards(geometry.solution(detector, detector.chips[number - 1], exposure, scale))


def _statistics(data: Array) -> dict[str, Value]:
    return {
        "NGOODPIX": int(data.size),
        "GOODMIN": round(float(data.min()), 4),
        "GOODMAX": round(float(data.max()), 4),
        "GOODMEAN": round(float(data.mean()), 4),
    }


def _padding(
    cards: list[str], count: int, detector: Detector, number: int, exposure: Exposure, scale: int
) -> tuple[list[str], Iterator[str]]:
    """Return `cards` with as many alternate solutions as there is room for, and what fills the rest."""
    cards = list(cards)
    for key in "OABCDEFG":
        more = geometry.alternate_cards(detector, number, exposure, scale, key)
        if len(cards) + len(more) + 10 > count:  # an image extension begins with ten cards
            break
        cards += more
    return cards, _leftovers()


def _leftovers() -> Iterator[str]:
    for name in ("TDDALPHA", "TDDBETA", "TDD_CTA", "TDD_CTB", "TDD_CYA", "TDD_CYB", "TDD_CXA", "TDD_CXB"):
        yield card(name, None, "time-dependent distortion, not used")
    for name in ("IDCXREF", "IDCYREF", "IDCV2REF", "IDCV3REF", "OCX10", "OCX11", "OCY10", "OCY11"):
        yield card(name, 0.0, "original term of the distortion model")
    yield card("D2IMEXT", "jref$demo1538j_d2i.fits")
    yield card("NPOLEXT", "jref$demo1537j_npl.fits")
