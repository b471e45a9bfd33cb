"""What the demonstration's telescope looks at: a spiral galaxy, a star cluster, an active nucleus, a white dwarf.

Images are functions of the sky, so that every exposure, dithered or combined, shows the same stars at the same
coordinates. Brightness is in electrons per second through the filter. All of it is invented; it is plausible, not true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from astropy.wcs import WCS

from hst_cloud.testing.demo.blocks import Array
from hst_cloud.testing.demo.geometry import plane, unplane

__all__ = ["Frame", "Scene", "active_nucleus", "expose", "generator", "render", "scene", "transfer", "white_dwarf"]

STEP = 16  # sky coordinates are computed at every 16th pixel of a full-size image and interpolated between
_ROWS = 128  # computed at once, so that a full-size image needs little more memory than itself
COSMIC_RAYS = 1.4e-5  # pixels hit per pixel and second: ACS Data Handbook 4.3, 1.5 to 3 % in 1000 s

# Data quality flags: ACS Data Handbook, table 3.4; WFC3 Data Handbook, table 3.3
HOT, SATURATED, COLUMN, REJECTED = 16, 256, 4, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A piece of sky."""

    center: tuple[float, float]
    """Right ascension and declination, degrees, from where places are measured."""
    diffuse: Callable[[Array, Array], Array]
    """Electrons per second and square arcsecond at arcsec east and north."""
    stars: Array
    """Arcsec east, arcsec north, electrons per second, FWHM in arcsec; one row a star."""
    background: float
    """Electrons per second and square arcsecond of the empty sky."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An exposed image."""

    science: Array
    """Electrons, sky included, float32."""
    error: Array
    """One standard deviation, float32."""
    quality: Array
    """Flags, int16."""


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """Return random numbers that depend on `seed` and on what they are for, and on nothing else."""
    return np.random.default_rng([seed, crc32("/".join(map(str, parts)).encode())])


def scene(name: str, center: tuple[float, float], seed: int) -> Scene:
    """Return the scene of the target of `name`: a spiral galaxy for M 51, a young star cluster for any other."""
    rng = generator(seed, name)
    return _galaxy(center, rng) if name.replace(" ", "").replace("-", "").upper() == "M51" else _cluster(center, rng)


def render(view: Scene, wcs: WCS, shape: tuple[int, int], *, pixel: float, scale: int) -> Array:
    """Return the image of `view`: electrons per second and pixel of the full-size detector.

    A pixel of an image scaled down holds the mean of the pixels that it stands for, so that the numbers stay within
    the detector's range at any scale.

    Parameters
    ----------
    view : Scene
        The sky.
    wcs : WCS
        Where the image's pixels are.
    shape : tuple of int
        Rows and columns.
    pixel : float
        Size of a full-size pixel, arcsec.
    scale : int
        How many of those a pixel spans along each axis.
    """
    image = np.empty(shape)
    for rows, east, north in _places(view, wcs, shape, max(1, STEP // scale)):
        image[rows] = (view.diffuse(east, north) + view.background) * pixel**2
    _add_stars(image, view, wcs, pixel * scale, scale)
    return image


def expose(
    rate: Array, seconds: float, rng: np.random.Generator, *, read_noise: float, full_well: float, cosmic: bool = True
) -> Frame:
    """Return what a detector makes of `rate` (electrons per second and pixel) in `seconds`."""
    electrons = rate * seconds
    science = rng.poisson(electrons) + rng.normal(0.0, read_noise, rate.shape)
    quality = np.zeros(rate.shape, np.int16)
    hot = rng.random(rate.shape) < 0.002
    science[hot] += rng.exponential(200.0, int(hot.sum()))
    quality[hot] |= HOT
    column = int(rng.integers(rate.shape[1]))
    quality[:, column] |= COLUMN
    science[:, column] *= 0.6
    if cosmic:
        for row, col, charge in _tracks(rate.shape, rng.poisson(COSMIC_RAYS * seconds * rate.size / 3), rng):
            science[row, col] += charge
            quality[row, col] |= REJECTED
    quality[science > full_well] |= SATURATED
    science = np.minimum(science, full_well * 1.05)
    error = np.sqrt(np.maximum(science, 0.0) + read_noise**2)
    return Frame(science=science.astype(np.float32), error=error.astype(np.float32), quality=quality)


def active_nucleus(wavelength: Array) -> Array:
    """Return a flux like NGC 4151's, erg/s/cm2/Angstrom, at `wavelength` in Angstrom."""
    redshift = 1.0033
    flux = 8e-14 * (wavelength / 1300.0) ** -1.3
    for center, strength, width in (
        (1215.67, 9e-13, 9.0),
        (1240.8, 2.5e-13, 7.0),
        (1304.4, 2.5e-14, 5.0),
        (1335.3, 1.5e-14, 4.0),
        (1397.6, 1.2e-13, 8.0),
        (1549.1, 6e-13, 10.0),
        (1640.4, 7e-14, 6.0),
        (1908.7, 9e-14, 9.0),
    ):
        for part, spread in ((0.6, width), (0.4, width / 4)):
            flux = flux + part * strength * np.exp(-0.5 * ((wavelength - center * redshift) / spread) ** 2)
    for center, depth, width in (
        (1206.5, 0.6, 0.8), (1215.67, 0.95, 2.2), (1238.8, 0.7, 0.9), (1242.8, 0.6, 0.9), (1260.4, 0.6, 0.5),
        (1302.2, 0.7, 0.5), (1334.5, 0.8, 0.5), (1393.8, 0.6, 0.7), (1402.8, 0.5, 0.7), (1526.7, 0.5, 0.5),
    ):  # fmt: skip
        flux = flux * (1 - depth * np.exp(-0.5 * ((wavelength - center - 1.2) / width) ** 2))
    # what the upper atmosphere adds wherever one looks: hydrogen and oxygen
    for center, strength in ((1215.67, 3e-12), (1302.2, 3e-13), (1304.9, 2.5e-13), (1306.0, 2e-13)):
        flux = flux + strength * np.exp(-0.5 * ((wavelength - center) / 0.35) ** 2)
    return flux


def white_dwarf(wavelength: Array) -> Array:
    """Return a flux like G191-B2B's, erg/s/cm2/Angstrom: hot, with the lines of hydrogen and a few metals."""
    x = 1.4388e8 / (wavelength * 6.0e4)
    flux = 1.9e-12 * (wavelength / 2000.0) ** -5 * (np.expm1(1.4388e8 / (2000.0 * 6.0e4)) / np.expm1(x))
    for lower, depth, width in ((1, 0.75, 4.0), (2, 0.35, 22.0)):
        for upper in range(lower + 1, lower + 9):
            center = 911.75 / (1 / lower**2 - 1 / upper**2)
            profile = 1 / (1 + ((wavelength - center) / (width / (upper - lower) ** 0.3)) ** 2)
            flux = flux * (1 - depth * (upper - lower) ** -0.35 * profile)
    for center in (1608.4, 1670.8, 1854.7, 1862.8, 2026.1, 2062.2, 2260.8, 2344.2, 2374.5, 2382.8):
        flux = flux * (1 - 0.55 * np.exp(-0.5 * ((wavelength - center) / 0.12) ** 2))
    return np.asarray(flux)


def transfer(angle: Array, separation: float, ratio: float) -> Array:
    """Return the fringe of a double star at `angle` (arcsec) from the interferometer's null.

    One star makes an S; its companion, `separation` arcsec off and `ratio` as bright, makes a second one.
    """

    def single(x: Array) -> Array:
        return 0.58 * x / 0.021 * np.exp(0.5 - 0.5 * (x / 0.021) ** 2) + 0.06 * np.sin(x / 0.018) * np.exp(
            -((x / 0.12) ** 2)
        )

    return (single(angle) + ratio * single(angle - separation)) / (1 + ratio)


def _galaxy(center: tuple[float, float], rng: np.random.Generator) -> Scene:
    pitch, arms = np.tan(np.radians(21.0)), 2

    def phase(east: Array, north: Array) -> tuple[Array, Array]:
        x, y = east, north / 0.92
        radius = np.hypot(x, y) + 0.3
        return radius, arms * (np.arctan2(y, x) - np.log(radius / 30.0) / pitch)

    def diffuse(east: Array, north: Array) -> Array:
        radius, angle = phase(east, north)
        bulge = 2600 * np.exp(-((radius / 1.6) ** 0.75)) + 420 * np.exp(-radius / 9.0)
        inside = radius / (radius + 14.0)
        arm = np.exp(2.3 * (np.cos(angle) - 1)) * inside
        lane = np.exp(5.0 * (np.cos(angle + 0.75) - 1)) * inside
        mottle = 1 + 0.16 * np.sin(east / 2.9 + 2.0 * np.sin(north / 4.7)) * np.sin(north / 3.3 + np.sin(east / 5.1))
        disk = 95 * np.exp(-radius / 95.0) * (0.45 + 2.1 * arm) * mottle
        return np.asarray((bulge + disk) * (1 - 0.62 * lane))

    # clusters and nebulae lie along the arms
    count = 420
    radius = rng.uniform(9.0, 150.0, count)
    angle = np.log(radius / 30.0) / pitch + np.pi * rng.integers(0, 2, count) + rng.normal(0.08, 0.16, count)
    flux = 70.0 * rng.pareto(1.1, count).clip(0.2, 60.0)
    knots = np.column_stack(
        [radius * np.cos(angle), 0.92 * radius * np.sin(angle), flux, rng.uniform(0.15, 1.6, count)]
    )
    return Scene(center=center, diffuse=diffuse, stars=np.vstack([knots, _field(70, rng)]), background=39.0)


def _cluster(center: tuple[float, float], rng: np.random.Generator) -> Scene:
    count = 16
    turns, shifts = rng.uniform(0, 2 * np.pi, (2, count))
    waves = np.column_stack([np.cos(turns), np.sin(turns)]) / rng.uniform(2.5, 14.0, (count, 1))

    def diffuse(east: Array, north: Array) -> Array:
        radius = np.hypot(east, north)
        veil = sum(np.sin(k[0] * east + k[1] * north + shift) for k, shift in zip(waves, shifts, strict=True))
        ridge = np.exp(-((np.hypot(east + 8, north - 12) - 42.0) ** 2) / 260.0)
        glow = 70 * np.exp(-radius / 26.0) + 55 * ridge
        return np.asarray(glow * np.exp(0.22 * veil))

    count = 1500
    radius = 7.0 * np.sqrt(rng.pareto(1.25, count)).clip(0, 16.0)
    angle = rng.uniform(0, 2 * np.pi, count)
    flux = 20.0 * rng.pareto(0.85, count).clip(0.05, 900.0)
    members = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), flux, np.zeros(count)])
    return Scene(center=center, diffuse=diffuse, stars=np.vstack([members, _field(400, rng)]), background=30.0)


def _field(count: int, rng: np.random.Generator) -> Array:
    """Return stars of the foreground, all over the field."""
    place = rng.uniform(-130.0, 130.0, (count, 2))
    flux = 16.0 * rng.pareto(0.8, count).clip(0.1, 500.0)
    return np.column_stack([place, flux, np.zeros(count)])


def _places(view: Scene, wcs: WCS, shape: tuple[int, int], step: int) -> Iterator[tuple[slice, Array, Array]]:
    """Yield the places of an image's pixels, arcsec east and north, a few rows at a time."""
    rows = np.arange(0, shape[0] - 1 + step, step, dtype=float)
    columns = np.arange(0, shape[1] - 1 + step, step, dtype=float)
    x, y = np.meshgrid(columns, rows)
    ra, dec = wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    east, north = (part.reshape(x.shape) for part in plane(ra, dec, view.center))
    down, across = _weights(shape[0], rows), _weights(shape[1], columns)
    for start in range(0, shape[0], _ROWS):
        some = slice(start, start + _ROWS)
        yield some, down[some] @ east @ across.T, down[some] @ north @ across.T


def _weights(length: int, knots: Array) -> Array:
    """Return the matrix of linear interpolation from `knots` to the whole numbers below `length`."""
    return np.array([np.interp(np.arange(length), knots, unit) for unit in np.eye(len(knots))]).T


def _add_stars(image: Array, view: Scene, wcs: WCS, pixel: float, scale: int) -> None:
    sky = np.column_stack(unplane(view.stars[:, 0], view.stars[:, 1], view.center))
    rough = wcs.wcs_world2pix(sky, 0)
    margin = 60 / scale + 20
    rows, columns = image.shape
    near = (np.abs(rough[:, 0] - columns / 2) < columns / 2 + margin) & (
        np.abs(rough[:, 1] - rows / 2) < rows / 2 + margin
    )
    if not near.any():
        return
    places = np.asarray(wcs.all_world2pix(sky[near], 0, quiet=True))
    flux, size = view.stars[near, 2] / scale**2, view.stars[near, 3]
    # never narrower than 1.5 pixels, so that a star shows at any scale
    width = np.maximum(np.hypot(0.085, size) / pixel, 1.5) / 2
    stars = np.column_stack([places, flux, width])
    # the brighter, the farther its wings are seen; stars of like reach are drawn together
    reach = 2 ** np.ceil(np.log2(6 * width + 6 * np.log10(1 + flux) + 2)).astype(int)
    wide = np.zeros((rows + 2, columns + 2))  # the edges take what falls beyond the image
    for far in np.unique(reach):
        alike = np.flatnonzero(reach == far)
        for some in np.array_split(alike, 1 + alike.size * far**2 // 1_000_000):
            _stamp(wide, stars[some], int(far))
    image += wide[1:-1, 1:-1]


def _stamp(wide: Array, stars: Array, reach: int) -> None:
    """Add stars (x, y, flux, half width; in pixels) of Moffat's profile (exponent 3) as far as `reach` from each."""
    x, y, flux, width = (part[:, None] for part in stars.T)
    away = np.arange(-reach, reach + 1)
    columns, rows = np.rint(x).astype(int) + away, np.rint(y).astype(int) + away
    core = width**2 / (2 ** (1 / 3) - 1)
    across, down = (columns - x) ** 2 / core, (rows - y) ** 2 / core
    light = (flux * 2 / (np.pi * core))[:, :, None] / (1 + across[:, None, :] + down[:, :, None]) ** 3
    inside = np.clip(rows + 1, 0, wide.shape[0] - 1)[:, :, None], np.clip(columns + 1, 0, wide.shape[1] - 1)[:, None, :]
    np.add.at(wide, inside, light)


def _tracks(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> list[tuple[Array, Array, Array]]:
    """Return cosmic rays: the pixels that each crosses, and the charge that it leaves in them."""
    tracks = []
    lengths = 1 + rng.poisson(1.6, count)
    starts = rng.random((count, 2)) * shape
    angles = rng.uniform(0, 2 * np.pi, count)
    charges = rng.lognormal(6.6, 1.0, count)
    for length, start, angle, charge in zip(lengths, starts, angles, charges, strict=True):
        along = np.arange(length)
        row = (start[0] + along * np.sin(angle)).astype(int)
        col = (start[1] + along * np.cos(angle)).astype(int)
        inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
        pixels = np.unique(np.column_stack([row[inside], col[inside]]), axis=0)
        tracks.append((pixels[:, 0], pixels[:, 1], charge * rng.uniform(0.5, 1.0, len(pixels))))
    return tracks
