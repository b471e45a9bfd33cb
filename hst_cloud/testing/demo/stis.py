"""Files of STIS: echelle and first-order spectra, and the images that they are taken from.

Columns, units and numbers of cards are those of public products, named at each structure.
Fluxes, counts and errors belong together: counts are drawn from flux, sensitivity and exposure time.
"""

from __future__ import annotations

import numpy as np

from hst_cloud.testing.demo import targets
from hst_cloud.testing.demo.blocks import Array, Value, binary_table, card, constant, image, primary
from hst_cloud.testing.demo.exposures import DATE, Exposure, filename, history, section, values_of, wavelength_range
from hst_cloud.testing.demo.scenes import generator, white_dwarf
from hst_cloud.testing.demo.structures import structure, vector_length

__all__ = [
    "stis_ccd_flt",
    "stis_ccd_raw",
    "stis_ccd_sx1",
    "stis_ccd_x1d",
    "stis_ccd_x2d",
    "stis_echelle_x1d",
]

_STIS_FLUX, _STIS_RATE = "erg/s/cm**2/Angstrom", "Counts/s"
_STIS_UNITS = {
    "WAVELENGTH": "Angstroms", "GROSS": _STIS_RATE, "BACKGROUND": _STIS_RATE, "NET": _STIS_RATE, "FLUX": _STIS_FLUX,
    "ERROR": _STIS_FLUX, "NET_ERROR": _STIS_RATE, "A2CENTER": "pixel", "EXTRSIZE": "pixel", "MAXSRCH": "pixel",
    "BK1SIZE": "pixel", "BK2SIZE": "pixel", "BK1OFFST": "pixel", "BK2OFFST": "pixel", "EXTRLOCY": "pixel",
    "OFFSET": "pixel",
}  # fmt: skip


@structure("x1d", targets.STANDARD_ECHELLE)
def stis_echelle_x1d(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """STIS echelle spectrum: forty orders, 87 to 126, as in odbue5030_x1d.fits."""
    orders = np.arange(87, 127)
    length = vector_length(1024, scale)
    # an order is centered where order times wavelength is constant, and as wide as its distance to the next, and more
    centers = 204215.0 / orders
    wavelength = centers[:, None] + np.outer(centers / orders * 1.44, np.linspace(-0.5, 0.5, length))
    blaze = np.sinc(np.linspace(-0.62, 0.62, length)) ** 2
    values = (
        values_of(exposure) | wavelength_range(1574.0, 2382.0, 30000.0) | {"WAVECAL": f"{exposure.rootname}_wav.fits"}
    )
    rows = _stis_rows(exposure, wavelength, orders, blaze, generator(seed, exposure.rootname, "x1d"))
    table = binary_table(rows, section("stis.table", values), name="SCI", units=_STIS_UNITS, count=157)
    return [_stis_primary("stis.primary", exposure, "x1d", values, nextend=1, count=297), table]


@structure("x1d", targets.STANDARD_CCD)
def stis_ccd_x1d(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """STIS CCD spectrum: one row, as in odj102010_x1d.fits."""
    return _ccd_spectrum(exposure, scale, seed, "x1d")


@structure("sx1", targets.STANDARD_CCD)
def stis_ccd_sx1(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """STIS CCD spectrum of combined exposures: as the x1d, no listing was found."""
    return _ccd_spectrum(exposure, scale, seed, "sx1")


@structure("raw", targets.STANDARD_CCD)
def stis_ccd_raw(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """STIS CCD raw exposures: two imsets, ERR and DQ constants, as in o4sp040b0_raw.fits."""
    values = values_of(exposure) | _ccd_range(exposure)
    parts = [_stis_primary("stis.ccd.primary", exposure, "raw", values, nextend=6, count=215)]
    shape = 1044 // scale, 1062 // scale
    for version in (1, 2):
        rng = generator(seed, exposure.rootname, "raw", version)
        science, _, _ = _spectral_image(exposure, shape, rng)
        counts = np.clip(np.rint(1510 + science / 1.0), 0, 65535).astype(np.uint16)
        place = _ccd_place(exposure, shape, "COUNTS")
        parts += [
            image(counts, [*place, *section("stis.sci", values)], name="SCI", version=version, count=141),
            constant(0.0, shape, place, name="ERR", version=version, count=71),
            constant(0, shape, place, name="DQ", version=version, count=71),
        ]
    return parts


@structure("flt", targets.STANDARD_CCD)
def stis_ccd_flt(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """STIS CCD calibrated exposures: two imsets, as in o4k19a010_flt.fits."""
    values = values_of(exposure) | _ccd_range(exposure)
    parts = [_stis_primary("stis.ccd.primary", exposure, "flt", values, nextend=6, count=263)]
    for version in (1, 2):
        parts += _ccd_imset(exposure, scale, generator(seed, exposure.rootname, "raw", version), version, (101, 53, 36))
    return parts


@structure("x2d", targets.STANDARD_CCD)
def stis_ccd_x2d(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """STIS CCD rectified spectral image: one imset; cards as in o5f301010_crj.fits, no listing was found."""
    values = values_of(exposure) | _ccd_range(exposure)
    parts = [_stis_primary("stis.ccd.primary", exposure, "x2d", values, nextend=3, count=246)]
    return parts + _ccd_imset(exposure, scale, generator(seed, exposure.rootname, "x2d"), 1, (119, 61, 44))


def _stis_primary(
    name: str, exposure: Exposure, suffix: str, values: dict[str, Value], *, nextend: int, count: int
) -> bytes:
    values = values | {"WAVECAL": f"{exposure.rootname}_wav.fits"}
    cards = section(name, values)
    if suffix != "raw" and name == "stis.ccd.primary":
        cards = [one.replace("'PERFORM '", "'COMPLETE'") for one in cards]
        cards = [card("CAL_VER", "3.4.2 (19-Jan-2018)") if one.startswith("CAL_VER") else one for one in cards]
    return primary(
        cards, filename=filename(exposure.rootname, suffix), nextend=nextend, date=DATE, count=count,
        filler=history(("BLEVCORR", "DARKCORR", "FLATCORR", "WAVECORR", "DISPCORR", "FLUXCORR")),
    )  # fmt: skip


def _stis_rows(exposure: Exposure, wavelength: Array, orders: Array, blaze: Array, rng: np.random.Generator) -> Array:
    length = wavelength.shape[1]
    vectors = ("GROSS", "BACKGROUND", "NET", "FLUX", "ERROR", "NET_ERROR")
    rows = np.zeros(len(orders), [
        ("SPORDER", ">i2"), ("NELEM", ">i2"), ("WAVELENGTH", ">f8", length),
        *((name, ">f4", length) for name in vectors), ("DQ", ">i2", length), ("A2CENTER", ">f4"), ("EXTRSIZE", ">f4"),
        ("MAXSRCH", ">i2"), *((name, ">f4") for name in ("BK1SIZE", "BK2SIZE", "BK1OFFST", "BK2OFFST")),
        ("EXTRLOCY", ">f4", length), ("OFFSET", ">f4"),
    ])  # fmt: skip
    flux = white_dwarf(wavelength)
    sensitivity = 4.8 / np.median(flux) * blaze * (1024 / length)
    background = 0.17 * 1024 / length
    counts = rng.poisson((flux * sensitivity + background) * exposure.seconds)
    rows["SPORDER"], rows["NELEM"], rows["WAVELENGTH"] = orders, length, wavelength
    rows["GROSS"], rows["BACKGROUND"] = counts / exposure.seconds, background
    rows["NET"] = rows["GROSS"] - background
    rows["NET_ERROR"] = np.sqrt(counts + 1.0) / exposure.seconds
    rows["FLUX"], rows["ERROR"] = rows["NET"] / sensitivity, rows["NET_ERROR"] / sensitivity
    rows["DQ"][:, : max(length // 200, 1)] = 4  # the detector's edge
    rows["DQ"][rng.random(rows["DQ"].shape) < 0.01] |= 16
    rows["A2CENTER"] = 90.0 + 20.0 * np.arange(len(orders)) if len(orders) > 1 else 512.6
    rows["EXTRSIZE"], rows["MAXSRCH"], rows["BK1SIZE"], rows["BK2SIZE"] = 7, 10, 5, 5
    rows["BK1OFFST"], rows["BK2OFFST"], rows["OFFSET"] = 14.7, -15.0, -0.08
    rows["EXTRLOCY"] = rows["A2CENTER"][:, None] + np.linspace(-1.5, 1.5, length)
    return rows


def _ccd_spectrum(exposure: Exposure, scale: int, seed: int, suffix: str) -> list[bytes]:
    length = vector_length(1024, scale)
    low, high = _ccd_limits(exposure)
    wavelength = np.linspace(low, high, length)[None, :]
    blaze = 0.25 + np.sin(np.linspace(0.15, 3.0, length)) ** 1.5
    rows = _stis_rows(exposure, wavelength, np.array([1]), blaze, generator(seed, exposure.rootname, suffix))
    values = values_of(exposure) | _ccd_range(exposure)
    table = binary_table(rows, section("stis.table", values), name="SCI", units=_STIS_UNITS, count=156)
    return [_stis_primary("stis.ccd.primary", exposure, suffix, values, nextend=1, count=274), table]


def _ccd_limits(exposure: Exposure) -> tuple[float, float]:
    """Return the ends of the wavelengths of a first-order grating: STIS Instrument Handbook, table 4.1."""
    half = 1024 * {"G230LB": 1.35, "G430L": 2.73, "G750L": 4.92}.get(exposure.elements[0], 0.56) / 2
    return exposure.cenwave - half, exposure.cenwave + half


def _ccd_range(exposure: Exposure) -> dict[str, Value]:
    return wavelength_range(*_ccd_limits(exposure), 780.0)


def _spectral_image(exposure: Exposure, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return counts, errors and flags of a star's spectrum on the CCD: wavelength runs along x."""
    wavelength = np.linspace(*_ccd_limits(exposure), shape[1])
    flux = white_dwarf(wavelength)
    along = 5.5 * exposure.seconds * flux / np.median(flux) * (0.25 + np.sin(np.linspace(0.15, 3.0, shape[1])) ** 1.5)
    row = np.arange(shape[0])
    width = max(1.1 * shape[0] / 1024, 0.7)
    across = np.exp(-0.5 * ((row - shape[0] * 0.5) / width) ** 2) + 0.004
    electrons = rng.poisson(np.outer(across, along) + 0.009 * exposure.seconds).astype(float)
    flags = np.zeros(shape, np.int16)
    hits = rng.random(shape) < 1.1e-5 * exposure.seconds
    electrons[hits] += rng.lognormal(6.0, 1.0, int(hits.sum()))
    flags[hits] |= 8192  # rejected when exposures are combined: STIS Data Handbook, table 2.8
    science = electrons + rng.normal(0.0, 5.6, shape)
    return science, np.sqrt(electrons + 5.6**2), flags


def _ccd_place(exposure: Exposure, shape: tuple[int, int], unit: str) -> list[str]:
    low, high = _ccd_limits(exposure)
    values = values_of(exposure)
    return [
        card("ROOTNAME", exposure.rootname), card("EXPNAME", exposure.rootname), card("BUNIT", unit),
        card("WCSAXES", 2), card("CRPIX1", shape[1] / 2 + 0.5), card("CRPIX2", shape[0] / 2 + 0.5),
        card("CRVAL1", float(exposure.cenwave)), card("CRVAL2", 0.0), card("CTYPE1", "LAMBDA"),
        card("CTYPE2", "ANGLE"), card("CD1_1", (high - low) / shape[1]), card("CD1_2", 0.0), card("CD2_1", 0.0),
        card("CD2_2", 0.0508 / 3600 * 1024 / shape[0]), card("CUNIT1", "angstrom"), card("CUNIT2", "deg"),
        card("LTV1", 0.0), card("LTV2", 0.0), card("LTM1_1", 1.0), card("LTM2_2", 1.0),
        card("RA_APER", values["RA_APER"]), card("DEC_APER", values["DEC_APER"]), card("PA_APER", values["PA_APER"]),
    ]  # fmt: skip


def _ccd_imset(
    exposure: Exposure, scale: int, rng: np.random.Generator, version: int, counts: tuple[int, int, int]
) -> list[bytes]:
    shape = 1024 // scale, 1024 // scale
    science, error, flags = _spectral_image(exposure, shape, rng)
    values = values_of(exposure) | _ccd_range(exposure)
    own, counted = section("stis.sci", values), _ccd_place(exposure, shape, "COUNTS")
    known = {one[:8] for one in counted}
    rest = [one for one in own if one[:8] not in known]
    return [
        image(science.astype(np.float32), [*counted, *rest], name="SCI", version=version, count=counts[0]),
        image(error.astype(np.float32), counted, name="ERR", version=version, count=counts[1]),
        image(flags, _ccd_place(exposure, shape, "UNITLESS"), name="DQ", version=version, count=counts[2]),
    ]
