"""Files of COS: photon events and extracted spectra of its far-ultraviolet detector.

Columns, units and numbers of cards are those of public products, named at each structure.
Fluxes, counts and errors belong together: counts are drawn from flux, sensitivity and exposure time.
"""

from __future__ import annotations

import numpy as np

from hst_cloud.testing.demo import targets
from hst_cloud.testing.demo.blocks import Array, Value, binary_table, card, primary
from hst_cloud.testing.demo.exposures import DATE, Exposure, filename, history, section, values_of, wavelength_range
from hst_cloud.testing.demo.scenes import active_nucleus, generator
from hst_cloud.testing.demo.structures import list_length, structure, vector_length

__all__ = ["cos_corrtag_a", "cos_corrtag_b", "cos_rawtag_a", "cos_rawtag_b", "cos_x1d", "cos_x1dsum"]

_PIXELS = 16384  # of COS's FUV detector along the dispersion
_EVENTS = 373689  # of an ordinary exposure: ldfd01vnq_rawtag_a.fits
# first wavelength of each segment of G130M/1291 and Angstrom per pixel: ld9m10ujq_x1d.fits
_SEGMENTS = {"FUVA": 1278.18, "FUVB": 1124.90}
_DISPERSION = 0.0099663
_CALIBRATED = ("FLATCORR", "DEADCORR", "DOPPCORR", "WAVECORR", "X1DCORR", "FLUXCORR")

_FLUX, _RATE = "erg /s /cm**2 /angstrom", "count /s"
_COS_UNITS = {
    "EXPTIME": "s", "WAVELENGTH": "angstrom", "FLUX": _FLUX, "ERROR": _FLUX, "GROSS": _RATE, "GCOUNTS": "count",
    "NET": _RATE, "BACKGROUND": _RATE, "BACKGROUND_PER_PIXEL": "count /s /pixel",
}  # fmt: skip


@structure("x1d", targets.NUCLEUS_FIRST)
def cos_x1d(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """COS/FUV extracted spectrum: two rows and twenty columns as in ld9m10ujq_x1d.fits."""
    rows = _cos_rows(exposure, scale, seed, outer=True)
    values = values_of(exposure) | _wavelengths(rows["WAVELENGTH"])
    table = binary_table(
        rows, [*section("cos.table", values)], name="SCI", units=_COS_UNITS, count=337, filler=_orientation()
    )
    return [_cos_primary(exposure, "x1d", values, 179), table]


@structure("x1dsum", targets.NUCLEUS)
def cos_x1dsum(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """COS/FUV sum of an association's spectra: twelve columns as in ldfd01010_x1dsum.fits; named after its first."""
    rows = _cos_rows(exposure, scale, seed, outer=False)
    # the file carries the association's name, its header the first member's
    first = (exposure.members or (exposure,))[0].rootname
    values = values_of(exposure) | _wavelengths(rows["WAVELENGTH"]) | {"ROOTNAME": first, "EXPNAME": first}
    table = binary_table(rows, section("cos.table", values), name="SCI", units=_COS_UNITS, count=311)
    return [_cos_primary(exposure, "x1dsum", values, 178), table]


@structure("corrtag_a", targets.NUCLEUS_FIRST)
def cos_corrtag_a(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """COS/FUV corrected events of segment A: EVENTS, GTI and TIMELINE as in ld9m10ujq_corrtag_a.fits."""
    return _corrtag(exposure, scale, seed, "FUVA")


@structure("corrtag_b", targets.NUCLEUS_FIRST)
def cos_corrtag_b(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """COS/FUV corrected events of segment B."""
    return _corrtag(exposure, scale, seed, "FUVB")


@structure("rawtag_a", targets.NUCLEUS_FIRST)
def cos_rawtag_a(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """COS/FUV raw events of segment A: EVENTS and GTI as in ldfd01vnq_rawtag_a.fits."""
    return _rawtag(exposure, scale, seed, "FUVA")


@structure("rawtag_b", targets.NUCLEUS_FIRST)
def cos_rawtag_b(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """COS/FUV raw events of segment B."""
    return _rawtag(exposure, scale, seed, "FUVB")


def _cos_primary(exposure: Exposure, suffix: str, values: dict[str, Value], count: int) -> bytes:
    cards = section("cos.primary", values)
    if suffix.startswith("rawtag"):
        cards = [one.replace("'COMPLETE'", "'PERFORM '") for one in cards if not one.startswith("CAL_VER")]
    return primary(
        cards, filename=filename(exposure.rootname, suffix), nextend=suffix.count("tag") + 1, date=DATE, count=count,
        filler=history(_CALIBRATED),
    )  # fmt: skip


def _cos_rows(exposure: Exposure, scale: int, seed: int, *, outer: bool) -> Array:
    """Return the rows of FUVA and FUVB, of which the latter is less sensitive."""
    length = vector_length(_PIXELS, scale)
    columns: list[tuple[str, str] | tuple[str, str, int]] = [
        ("SEGMENT", "S4"), ("EXPTIME", ">f8"), ("NELEM", ">i4"), ("WAVELENGTH", ">f8", length),
        *((name, ">f4", length) for name in ("FLUX", "ERROR", "GROSS", "GCOUNTS", "NET", "BACKGROUND")),
        ("DQ", ">i2", length), ("DQ_WGT", ">f4", length),
    ]  # fmt: skip
    if outer:
        columns += [
            ("DQ_OUTER", ">i2", length), ("BACKGROUND_PER_PIXEL", ">f4", length), ("NUM_EXTRACT_ROWS", ">i2", length),
            *((name, ">f8", length) for name in ("ACTUAL_EE", "Y_LOWER_OUTER", "Y_UPPER_OUTER", "Y_LOWER_INNER",
                                                 "Y_UPPER_INNER")),
        ]  # fmt: skip
    rows = np.zeros(2, columns)
    for row, (segment, start) in zip(rows, _SEGMENTS.items(), strict=True):
        wavelength = start + _DISPERSION * _PIXELS * (np.arange(length) + 0.5) / length
        step = _DISPERSION * _PIXELS / length
        lit = _lit(length)
        sensitivity = _cos_sensitivity(wavelength) * step
        rng = generator(seed, exposure.rootname, segment, "spectrum")
        background = np.full(length, 4e-5 * step / _DISPERSION)
        expected = (active_nucleus(wavelength) * sensitivity * lit + background) * exposure.seconds
        counts = rng.poisson(expected)
        row["SEGMENT"], row["EXPTIME"], row["NELEM"] = segment, exposure.seconds, length
        row["WAVELENGTH"], row["GCOUNTS"], row["BACKGROUND"] = wavelength, counts, background
        row["GROSS"] = counts / exposure.seconds
        row["NET"] = row["GROSS"] - background
        row["FLUX"] = row["NET"] / sensitivity
        row["ERROR"] = np.sqrt(counts + 1.0) / exposure.seconds / sensitivity
        row["DQ"] = _flags(lit, rng)
        row["DQ_WGT"] = row["DQ"] & 8346 == 0  # SDQFLAGS
        if outer:
            row["DQ_OUTER"], row["BACKGROUND_PER_PIXEL"], row["NUM_EXTRACT_ROWS"] = row["DQ"], background / 28, 28
            row["ACTUAL_EE"] = 0.99
            for name, at in (("Y_LOWER_OUTER", 410), ("Y_UPPER_OUTER", 437), ("Y_LOWER_INNER", 418)):
                row[name] = at
            row["Y_UPPER_INNER"] = 430
    return rows


def _lit(length: int) -> Array:
    """Tell which pixels of the detector see light: 1 but near its ends."""
    at = np.arange(length) / length
    return ((at > 0.062) & (at < 0.93)).astype(float)


def _flags(lit: Array, rng: np.random.Generator) -> Array:
    """Return flags: outside the active area (128), wires of the grid (4), a few dead spots (16)."""
    length = len(lit)
    flags = np.where(lit == 0, 128, 0).astype(np.int16)
    for wire in range(length // 20, length, max(length // 19, 1)):
        flags[wire : wire + max(length // 800, 1)] |= 4
    for spot in rng.integers(0, length, 5):
        flags[spot : spot + max(length // 1000, 1)] |= 16
    return flags


def _cos_sensitivity(wavelength: Array) -> Array:
    """Return counts per second, for a flux of 1 and an Angstrom: rising from 1100 to 1220 A, then falling."""
    return 6.5e13 * np.exp(-0.5 * ((wavelength - 1235.0) / 88.0) ** 2) + 2e12


def _wavelengths(wavelength: Array) -> dict[str, Value]:
    return wavelength_range(float(wavelength.min()), float(wavelength.max()), 18000.0)


def _events(exposure: Exposure, scale: int, seed: int, segment: str) -> tuple[dict[str, Array], np.random.Generator]:
    """Return photons, thinned by `scale`: when and where they fell, in the order of time."""
    rng = generator(seed, exposure.rootname, segment, "events")
    count = list_length(_EVENTS, scale)
    stray = count // 12
    pixel = np.arange(_PIXELS)
    wavelength = _SEGMENTS[segment] + _DISPERSION * pixel
    bright = active_nucleus(wavelength) * _cos_sensitivity(wavelength) * _lit(_PIXELS)
    x = np.concatenate([
        np.interp(rng.random(count - stray), np.cumsum(bright) / bright.sum(), pixel),
        rng.uniform(400, 16000, stray),
    ])  # fmt: skip
    center = 425.0 if segment == "FUVA" else 486.0
    y = np.concatenate([rng.normal(center, 3.2, count - stray), rng.uniform(330, 640, stray)])
    order = rng.permutation(count)
    time = np.sort(rng.uniform(0, exposure.seconds, count))
    return {"time": time, "x": x[order], "y": y[order], "on": (order < count - stray)}, rng


def _corrtag(exposure: Exposure, scale: int, seed: int, segment: str) -> list[bytes]:
    photons, rng = _events(exposure, scale, seed, segment)
    count = len(photons["time"])
    names = ("XCORR", "YCORR", "XDOPP", "XFULL", "YFULL", "WAVELENGTH", "EPSILON")
    dtype = [("TIME", ">f4"), ("RAWX", ">i2"), ("RAWY", ">i2"), *((name, ">f4") for name in names)]
    rows = np.zeros(count, [*dtype, ("DQ", ">i2"), ("PHA", "u1")])
    rows["TIME"], rows["RAWX"], rows["RAWY"] = photons["time"], photons["x"] + 60, photons["y"] - 4
    rows["XCORR"] = rows["XDOPP"] = photons["x"] - 33.5
    rows["YCORR"], rows["XFULL"], rows["YFULL"] = photons["y"], photons["x"], photons["y"] + 0.5
    rows["WAVELENGTH"] = _SEGMENTS[segment] + _DISPERSION * photons["x"]
    rows["EPSILON"] = rng.normal(1.0, 0.03, count)
    rows["DQ"] = np.where(rng.random(count) < 0.02, 512, 0)
    rows["PHA"] = np.clip(rng.normal(np.where(photons["on"], 11.0, 8.0), 3.0), 0, 31)
    units = dict.fromkeys(("RAWX", "RAWY", "XCORR", "YCORR", "XDOPP", "XFULL", "YFULL"), "pixel")
    units |= {"TIME": "s", "WAVELENGTH": "angstrom"}
    values = values_of(exposure) | _wavelengths(rows["WAVELENGTH"])
    values |= {"NEVENTS": count, f"NEVENTS{segment[-1]}": count}
    suffix = f"corrtag_{segment[-1].lower()}"
    cards = section("cos.table", values)
    return [
        _cos_primary(exposure, suffix, values, 179),
        binary_table(rows, cards, name="EVENTS", units=units, count=335, filler=_orientation()),
        _good_times(exposure, values),
        _timeline(exposure, scale, cards),
    ]


def _rawtag(exposure: Exposure, scale: int, seed: int, segment: str) -> list[bytes]:
    photons, rng = _events(exposure, scale, seed, segment)
    count = len(photons["time"])
    rows = np.zeros(count, [("TIME", ">f4"), ("RAWX", ">i2"), ("RAWY", ">i2"), ("PHA", "u1")])
    rows["TIME"], rows["RAWX"], rows["RAWY"] = photons["time"], photons["x"] + 60, photons["y"] - 4
    rows["PHA"] = np.clip(rng.normal(np.where(photons["on"], 11.0, 8.0), 3.0), 0, 31)
    units = {"TIME": "seconds", "RAWX": "pixels", "RAWY": "pixels"}
    values = values_of(exposure) | wavelength_range(1125.0, 1441.0, 18000.0)
    values |= {"NEVENTS": count, f"NEVENTS{segment[-1]}": count}
    suffix = f"rawtag_{segment[-1].lower()}"
    table = binary_table(rows, section("cos.table", values), name="EVENTS", units=units, count=301)
    return [_cos_primary(exposure, suffix, values, 179), table, _good_times(exposure, values)]


def _good_times(exposure: Exposure, values: dict[str, Value]) -> bytes:
    rows = np.array([(0.032, exposure.seconds)], [("START", ">f8"), ("STOP", ">f8")])
    cards = [card("ROOTNAME", values["ROOTNAME"]), card("EXPNAME", values["EXPNAME"]), card("INHERIT", True)]
    cards += [card("ASN_MTYP", exposure.role), card("TALEN2", _PIXELS), card("TALEN3", 1024)]
    return binary_table(rows, cards, name="GTI", units={"START": "seconds", "STOP": "seconds"}, count=22)


def _timeline(exposure: Exposure, scale: int, cards: list[str]) -> bytes:
    """Return where the telescope was, once a second: an orbit takes 95 minutes."""
    units = {
        "TIME": "s", "LONGITUDE": "degree", "LATITUDE": "degree", "SUN_ALT": "degree", "SUN_ZD": "degree",
        "TARGET_ALT": "degree", "RADIAL_VEL": "km /s", "SHIFT1": "pixel", "LY_ALPHA": "count /s",
        "OI_1304": "count /s", "OI_1356": "count /s", "DARKRATE": "count /s /pixel",
    }  # fmt: skip
    rows = np.zeros(list_length(int(exposure.seconds), scale), [(name, ">f4") for name in units])
    time = np.linspace(0, exposure.seconds, len(rows), endpoint=False)
    phase = 2 * np.pi * time / 5717.8
    rows["TIME"] = time
    rows["LONGITUDE"] = (254.6 + np.degrees(phase) * 0.93) % 360
    rows["LATITUDE"] = 28.47 * np.sin(phase - 0.74)
    rows["SUN_ALT"] = 21.4 + 60 * np.sin(phase)
    rows["SUN_ZD"] = 91.6 - 60 * np.sin(phase)
    rows["TARGET_ALT"] = 66.8 + 20 * np.sin(phase)
    rows["RADIAL_VEL"] = 5.9 * np.cos(phase)
    rows["LY_ALPHA"] = 32.0 + 11 * np.sin(phase)
    rows["DARKRATE"] = 2.1e-06
    return binary_table(rows, cards, name="TIMELINE", units=units, count=340, filler=_orientation())


def _orientation() -> list[str]:
    """Return what tells how a table's columns make an image; it fills the headers of tables."""
    cards = []
    for axis in (2, 3):
        cards += [card(f"TCTYP{axis}", "WAVE" if axis == 2 else "ANGLE"), card(f"TCRPX{axis}", 1.0)]
        cards += [card(f"TCRVL{axis}", -999.0), card(f"TCUNI{axis}", "angstrom" if axis == 2 else "deg")]
        cards += [card(f"TC{axis}_2", 0.0), card(f"TC{axis}_3", 0.0)]
    cards += [card(f"TALEN{axis}", length) for axis, length in ((2, _PIXELS), (3, 1024))]
    names = ("LIVETM_A", "LIVETM_B", "CHI_SQ_A", "CHI_SQ_B", "NDF_A", "NDF_B", "GOODMEAN", "GOODMAX", "NGOODPIX")
    return cards + [card(name, 0.0) for name in names] + [card(f"SPARE{n}", 0) for n in range(40)]
