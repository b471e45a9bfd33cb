"""Where the pixels of ACS and WFC3 lie on the sky: chips, polynomials, distortion tables, and their keywords.

A detector scaled down by `scale` sees the same field with fewer pixels: its reference pixels, polynomials and tables
are scaled with it, so that the same place of the sky is found at any scale.

Sources: the calibration's own keywords in public products of each detector (linear terms and offsets turned to
position angle 0; SIP polynomials); tables of distortion are invented with the amplitude of the real ones.
SIP: Shupe et al. 2005, ASP Conf. 347, 491. Tables: FITS WCS paper IV draft (CPDIS) and STScI TSR 2010-01 (D2IMDIS).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from hst_cloud.testing.demo.blocks import Array, card, image, text_of
from hst_cloud.testing.demo.exposures import Exposure

__all__ = [
    "DETECTORS",
    "IR",
    "UVIS",
    "WFC",
    "Chip",
    "Detector",
    "alternate_cards",
    "corners",
    "distortion_parts",
    "linear_cards",
    "lookup",
    "plane",
    "region_card",
    "solution",
    "solution_cards",
    "unplane",
    "wcs",
]

TABLE = (32, 64)  # rows and columns of a distortion table, whatever the scale of the image


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One CCD or infrared array."""

    number: int
    """Keyword CCDCHIP."""
    linear: tuple[float, float, float, float]
    """CD matrix at position angle 0, arcsec per pixel."""
    offset: tuple[float, float]
    """Reference pixel seen from that of the first chip, arcsec west-east and north at position angle 0."""
    a: dict[str, float]
    """SIP coefficients of x, by ``p_q``."""
    b: dict[str, float]
    """SIP coefficients of y."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A detector of an instrument."""

    shape: tuple[int, int]
    """Rows and columns of a chip."""
    reference: tuple[float, float]
    """Reference pixel, x and y."""
    pixel: float
    """Size of a pixel, arcsec."""
    chips: tuple[Chip, ...]
    """In the order of EXTVER."""
    tables: bool
    """Distortion tables accompany the polynomials."""
    center: tuple[float, float]
    """Middle of the field, arcsec from the first chip's reference pixel."""

    def scaled_shape(self, scale: int) -> tuple[int, int]:
        """Return the shape of a chip scaled down."""
        return self.shape[0] // scale, self.shape[1] // scale


def _polynomial(text: str) -> dict[str, float]:
    pairs = (one.split(":") for one in text.split())
    return {power: float(value) for power, value in pairs}


WFC = Detector(
    shape=(2048, 4096),
    reference=(2048.0, 1024.0),
    pixel=0.05,
    tables=True,
    center=(0.0, 52.0),
    chips=(
        Chip(
            number=2,
            linear=(-0.0497302, 0.0, 0.0034395, 0.05031),
            offset=(0.0, 0.0),
            a=_polynomial(
                "0_2:2.1664e-06 0_3:5.603e-12 0_4:1.7696e-14 1_1:-5.2138e-06 1_2:-5.1969e-10 1_3:-8.4361e-15 "
                "2_0:8.5549e-06 2_1:-2.7063e-11 2_2:3.8795e-14 3_0:-4.92e-10 3_1:5.8786e-15 4_0:2.5645e-14"
            ),
            b=_polynomial(
                "0_2:-7.2361e-06 0_3:-3.7882e-10 0_4:7.6761e-15 1_1:6.1881e-06 1_2:-7.5271e-11 1_3:1.2188e-14 "
                "2_0:-1.7414e-06 2_1:-5.1652e-10 2_2:-3.1376e-14 3_0:1.0054e-10 3_1:-9.5798e-16 4_0:-1.8467e-14"
            ),
        ),
        Chip(
            number=1,
            linear=(-0.0490953, -0.0003295, 0.0040987, 0.0486309),
            offset=(-0.2163, 103.9781),
            a=_polynomial(
                "0_2:2.2637e-06 0_3:8.8103e-11 0_4:1.3603e-13 1_1:-7.5301e-06 1_2:-5.0112e-10 1_3:-1.0878e-14 "
                "2_0:8.5233e-06 2_1:-1.067e-10 2_2:9.5216e-14 3_0:-4.8987e-10 3_1:3.6685e-14 4_0:2.0533e-14"
            ),
            b=_polynomial(
                "0_2:-9.7939e-06 0_3:-3.7494e-10 0_4:-1.5347e-13 1_1:6.4564e-06 1_2:-3.7711e-11 1_3:8.2037e-15 "
                "2_0:-2.9514e-06 2_1:-4.0888e-10 2_2:-1.1195e-13 3_0:1.1441e-10 3_1:-4.2465e-14 4_0:-2.0014e-14"
            ),
        ),
    ),
)

UVIS = Detector(
    shape=(2051, 4096),
    reference=(2048.0, 1026.0),
    pixel=0.0396,
    tables=True,
    center=(0.0, 41.2),
    chips=(
        Chip(
            number=2,
            linear=(-0.0397635, 0.0, 0.0025115, 0.0398376),
            offset=(0.0, 0.0),
            a=_polynomial(
                "0_2:9.6875e-08 0_3:1.8398e-11 0_4:-1.5724e-14 1_1:-3.0073e-06 1_2:1.5217e-11 1_3:1.0678e-14 "
                "2_0:2.9308e-06 2_1:-1.2617e-11 2_2:-1.7256e-14 3_0:3.0558e-11 3_1:6.6593e-15 4_0:-7.4582e-15"
            ),
            b=_polynomial(
                "0_2:-3.1182e-06 0_3:1.4927e-11 0_4:1.7312e-14 1_1:2.8147e-06 1_2:-5.0795e-12 1_3:8.6808e-15 "
                "2_0:-5.8319e-08 2_1:1.029e-11 2_2:1.8974e-14 3_0:1.8012e-13 3_1:-6.6941e-16 4_0:2.8183e-15"
            ),
        ),
        Chip(
            number=1,
            linear=(-0.0395237, 7.35e-05, 0.002783, 0.0393662),
            offset=(0.0795, 82.4444),
            a=_polynomial(
                "0_2:-1.6301e-08 0_3:-1.0712e-13 0_4:6.335e-15 1_1:-2.8946e-06 1_2:1.6617e-11 1_3:1.28e-14 "
                "2_0:2.881e-06 2_1:-5.1077e-12 2_2:4.0054e-16 3_0:2.5027e-11 3_1:9.3843e-16 4_0:-1.1174e-15"
            ),
            b=_polynomial(
                "0_2:-2.8811e-06 0_3:4.066e-11 0_4:-2.1913e-14 1_1:2.8293e-06 1_2:-4.0593e-12 1_3:-5.1649e-15 "
                "2_0:-8.5296e-10 2_1:9.7639e-13 2_2:-6.541e-15 3_0:1.0934e-11 3_1:-3.2279e-15 4_0:-2.3237e-15"
            ),
        ),
    ),
)

IR = Detector(
    shape=(1014, 1014),
    reference=(507.0, 507.0),
    pixel=0.1283,
    tables=False,
    center=(0.0, 0.0),
    chips=(
        Chip(
            number=4,
            linear=(-0.1353955, 0.0, 0.0004407, 0.1209398),
            offset=(0.0, 0.0),
            a=_polynomial(
                "0_2:5.3654e-08 0_3:3.5761e-11 0_4:-2.0299e-13 1_1:2.4457e-05 1_2:5.9998e-11 1_3:6.2042e-13 "
                "2_0:-1.9768e-07 2_1:1.1243e-10 2_2:-2.1e-14 3_0:-1.4547e-10 3_1:5.6114e-13 4_0:-3.3503e-13"
            ),
            b=_polynomial(
                "0_2:3.0021e-05 0_3:-1.6774e-10 0_4:7.7474e-13 1_1:-1.747e-07 1_2:4.2655e-11 1_3:-9.0688e-14 "
                "2_0:6.9803e-06 2_1:-2.6339e-10 2_2:-6.963e-14 3_0:5.3154e-11 3_1:1.0014e-13 4_0:-6.1398e-13"
            ),
        ),
    ),
)


DETECTORS = {"WFC": WFC, "UVIS": UVIS, "IR": IR}


def plane(ra: Array, dec: Array, center: tuple[float, float]) -> tuple[Array, Array]:
    """Project sky coordinates on the tangent plane of `center`: arcsec east and north (gnomonic)."""
    a, d = np.radians(ra - center[0]), np.radians(dec)
    sin0, cos0 = np.sin(np.radians(center[1])), np.cos(np.radians(center[1]))
    depth = np.sin(d) * sin0 + np.cos(d) * cos0 * np.cos(a)
    east = np.degrees(np.cos(d) * np.sin(a) / depth) * 3600
    north = np.degrees((np.sin(d) * cos0 - np.cos(d) * sin0 * np.cos(a)) / depth) * 3600
    return east, north


def unplane(east: Array, north: Array, center: tuple[float, float]) -> tuple[Array, Array]:
    """Return the sky coordinates of places of the tangent plane of `center`: the inverse of `plane`."""
    x, y = np.radians(np.asarray(east) / 3600), np.radians(np.asarray(north) / 3600)
    sin0, cos0 = np.sin(np.radians(center[1])), np.cos(np.radians(center[1]))
    length = np.sqrt(1 + x**2 + y**2)
    dec = np.degrees(np.arcsin((sin0 + y * cos0) / length))
    ra = center[0] + np.degrees(np.arctan2(x, cos0 - y * sin0))
    return ra % 360, dec


def solution(exposure: Exposure, number: int, scale: int) -> dict[str, float]:
    """Return the linear keywords of the chip of EXTVER `number`: reference pixel, its coordinates, CD matrix."""
    detector = DETECTORS[exposure.detector]
    chip = detector.chips[number - 1]
    turn = np.radians(exposure.angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    away = rotation @ (np.array(chip.offset) - np.array(detector.center)) + np.array(exposure.dither) * [-1, 1]
    ra, dec = unplane(away[0], away[1], (exposure.target.ra, exposure.target.dec))
    cd = rotation @ np.array(chip.linear).reshape(2, 2) * scale / 3600
    # the whole numbers are the middles of pixels: 0.5 is the edge that stays where it is
    x, y = ((at - 0.5) / scale + 0.5 for at in detector.reference)
    keys = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    return dict(zip(keys, map(float, (x, y, ra, dec, *cd.ravel())), strict=True))


def linear_cards(linear: dict[str, float], kind: str = "TAN", key: str = "") -> list[str]:
    """Return the cards of a celestial WCS; `key` is the letter of an alternate one."""
    return [
        card(f"WCSAXES{key}", 2, "number of coordinate axes"),
        *(card(f"{name}{key}", value) for name, value in linear.items()),
        card(f"CTYPE1{key}", f"RA---{kind}", "right ascension, gnomonic projection"),
        card(f"CTYPE2{key}", f"DEC--{kind}", "declination, gnomonic projection"),
        card(f"CUNIT1{key}", "deg"),
        card(f"CUNIT2{key}", "deg"),
        card(f"RADESYS{key}", "ICRS", "equatorial coordinate system"),
    ]


def solution_cards(exposure: Exposure, number: int, scale: int, *, tables: bool | None = None) -> list[str]:
    """Return the cards of the whole solution of the chip of EXTVER `number`, distortion and footprint included."""
    detector = DETECTORS[exposure.detector]
    chip = detector.chips[number - 1]
    linear = solution(exposure, number, scale)
    cards = linear_cards(linear, "TAN-SIP")
    order = max(int(power[0]) + int(power[2]) for power in chip.a)
    for axis, terms in (("A", chip.a), ("B", chip.b)):
        cards.append(card(f"{axis}_ORDER", order, "SIP polynomial order"))
        for power, value in terms.items():
            degree = int(power[0]) + int(power[2])
            cards.append(card(f"{axis}_{power}", value * scale ** (degree - 1), "SIP distortion coefficient"))
    if detector.tables if tables is None else tables:
        cards += _lookup_cards(number, scale)
    cards.append(card("IDCSCALE", detector.pixel * scale, "pixel scale that counts hold for"))
    name = f"IDC_{exposure.rootname[:4]}1536{exposure.rootname[0]}"
    return [*cards, card("WCSNAME", f"{name}-FIT_REL_GAIAeDR3", "title of the solution"), *_fit_cards(exposure, name)]


def alternate_cards(exposure: Exposure, number: int, scale: int, key: str) -> list[str]:
    """Return the cards of an alternate solution: what the telescope said before it was fitted to stars.

    ``O`` is linear; the others share the distortion of the primary one, as in WFC3's idv404axq_flc.fits.
    """
    linear = solution(exposure, number, scale)
    # guide stars were off by a few tenths of an arcsecond before Gaia; every letter a little less
    off = 0.3 / (1 + "OABCDEFG".index(key)) / 3600
    linear |= {"CRVAL1": linear["CRVAL1"] + off, "CRVAL2": linear["CRVAL2"] - off}
    names = {"O": "OPUS", "A": "IDC_demo1536", "B": "IDC_demo1536-GSC240"}
    name, form = names.get(key, f"IDC_demo1536-{key}"), "TAN" if key == "O" else "TAN-SIP"
    return [card(f"WCSNAME{key}", name), *linear_cards(linear, form, key)]


def distortion_parts(scale: int, order: Iterable[tuple[str, int]], *, chipcard: bool) -> dict[tuple[str, int], bytes]:
    """Return the extensions that hold the distortion tables, by name and EXTVER."""
    parts = {}
    for name, version in order:
        cards = [card("CCDCHIP", "DX" if version % 2 else "DY")] if chipcard else []
        for axis in (1, 2):
            cards += [
                card(f"CDELT{axis}", 64.0 / scale, "coordinate increment"),
                card(f"CRPIX{axis}", 0.0, "reference pixel"),
                card(f"CRVAL{axis}", 0.0, "coordinate at reference pixel"),
            ]
        parts[name, version] = image(lookup(name, version, scale), cards, name=name, version=version, inherit=False)
    return parts


@cache
def lookup(name: str, version: int, scale: int) -> Array:
    """Return a distortion table: pixels to add, up to about 0.1 of the detector's own.

    ``D2IMARR`` steps every few columns as the masks of the CCD's lithography did; ``WCSDVARR`` is smooth.
    """
    y, x = np.mgrid[0 : TABLE[0], 0 : TABLE[1]].astype(float)
    if name == "D2IMARR":
        values = 0.05 * np.sin(2 * np.pi * x / 33.3 + version) + 0.02 * ((x + 3 * version) % 4 - 1.5)
    else:
        values = 0.04 * np.cos(np.pi * x / 40 + version) * np.sin(np.pi * (y + 5 * version) / 21)
    table: Array = (values / scale).astype(np.float32)
    table.flags.writeable = False  # it is kept
    return table


def wcs(cards: Iterable[str], scale: int, *, tables: bool) -> WCS:
    """Return the solution that `cards` describe, as astropy reads it from a file."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    if tables:
        order = [(name, version) for name in ("D2IMARR", "WCSDVARR") for version in (1, 2, 3, 4)]
        for part in distortion_parts(scale, order, chipcard=False).values():
            hdus.append(fits.ImageHDU.fromstring(part))
    return WCS(text_of(cards), hdus)


def corners(wcs: WCS, shape: tuple[int, int]) -> Array:
    """Return the sky coordinates of an image's corners, counterclockwise on the detector, (4, 2)."""
    rows, columns = shape
    edges = np.array([[-0.5, -0.5], [columns - 0.5, -0.5], [columns - 0.5, rows - 0.5], [-0.5, rows - 0.5]])
    return np.asarray(wcs.all_pix2world(edges, 0))


def region_card(sky: Array) -> str:
    """Return the card of the footprint."""
    closed = [*sky, sky[0]]
    return card("S_REGION", "POLYGON ICRS " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in closed))


def _lookup_cards(number: int, scale: int) -> list[str]:
    cards = []
    for name, distortion, parameters, error in (
        ("D2IMARR", "D2IMDIS", "D2IM", "D2IMERR"),
        ("WCSDVARR", "CPDIS", "DP", "CPERR"),
    ):
        for axis in (1, 2):
            version = 2 * (number - 1) + axis
            largest = float(np.abs(lookup(name, version, scale)).max())
            cards += [
                card(f"{error}{axis}", round(largest, 9), "largest correction, pixels"),
                card(f"{distortion}{axis}", "Lookup", "kind of correction"),
                card(f"{parameters}{axis}", f"EXTVER: {version:.1f}"),
                card(f"{parameters}{axis}", "NAXES: 2.0"),
                card(f"{parameters}{axis}", "AXIS.1: 1.0"),
                card(f"{parameters}{axis}", "AXIS.2: 2.0"),
            ]
    return cards


def _fit_cards(exposure: Exposure, name: str) -> list[str]:
    suffix = "flc" if exposure.detector in {"WFC", "UVIS"} else "flt"
    return [
        card("WCSTYPE", "undistorted a posteriori solution relatively aligned to GAIAEDR3"),
        card("RMS_RA", 6.2, "[mas] RMS of the fit in right ascension"),
        card("RMS_DEC", 5.7, "[mas] RMS of the fit in declination"),
        card("CRDER1", 1.7e-06, "[deg] random error"),
        card("CRDER2", 1.6e-06, "[deg] random error"),
        card("NMATCHES", 212, "stars of the fit"),
        card("FITGEOM", "rscale"),
        card("MJDREF", 0.0),
        card("HDRNAME", f"{exposure.rootname}_{suffix}_{name}-FIT_REL_GAIAeDR3-hlet.fits"),
    ]
