"""How cutouts are read: the headers say where the boxes lie, then all rows of all boxes come in one round trip."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from numpy.typing import NDArray

from hst_cloud.errors import HSTCloudError, OutsideImageError, QueryError, TruncatedFileError
from hst_cloud.fits.header_blocks import HDULike, as_hdu
from hst_cloud.fits.layout import HDUExtent, Layout, Scan, completed, scan
from hst_cloud.fits.pixels import STORED, Image, box_array, box_ranges, box_span
from hst_cloud.fits.predict import SLACK
from hst_cloud.science import boxes
from hst_cloud.science.boxes import Center, Extent, Window
from hst_cloud.science.chips import Chip, chips_of, companion, likely_first, numbers_of, tables_of, title
from hst_cloud.science.flags import BitFlags
from hst_cloud.store.link import Link
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.ranges import arrange, coalesce
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["Array", "Cut", "Outcome", "Wanted", "cuts", "fetched", "glimpse", "taken"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of every file."""

    centers: tuple[Center, ...]
    size: Extent
    hdu: HDULike
    good_bits: BitFlags
    uncertainty: bool
    mask: bool
    weight: Literal["exposure", "inverse variance"]
    wcs: bool
    wcs_key: str = " "
    """Which solution: a key or a name, a blank for the primary one."""
    link: Link
    """What the requests are arranged for."""
    files: int
    """How many files are read like this at the same time."""

    def __post_init__(self) -> None:
        """Raise a `QueryError` if no image or no solution is named like that."""
        as_hdu(self.hdu)
        if not isinstance(self.wcs_key, str):
            message = f"wcs_key={self.wcs_key!r} names no solution: expected a letter, or a WCSNAME such as '*-GSC240'"
            raise QueryError(message)

    @property
    def pixels_alone(self) -> bool:
        """Whether one image, and where it lies on the sky no matter, is all that is wanted."""
        return not (self.wcs or self.uncertainty or self.mask or boxes.needs_sky(self.centers, self.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was read for one center: all that a CCDData is made of."""

    found: Scan
    chip: Chip
    window: Window
    solution: WCS | None
    """Where the pixels of the whole image lie; None where that was not wanted."""
    planes: dict[str, Array]
    """Pixels of SCI (whatever its name), ERR, DQ and WHT, as far as they were wanted and are there."""


Outcome: TypeAlias = "Cut | HSTCloudError"


def cuts(found: Scan, wanted: Wanted, address: str) -> Plan[ByteRange, Piece, list[Outcome]]:
    """Read the boxes around all centers from one file whose headers are known.

    Parameters
    ----------
    found : Scan
        Where everything lies, and the bytes that are held already.
    wanted : Wanted
        What to read.
    address : str
        Where the file lies, for messages.

    Returns
    -------
    list of Outcome
        What was read for each center, or why it was not, in their order.

    Notes
    -----
    Round trips: one; one more where the tables of distortion are not held and a position is on the sky.
    """
    held = found.segments
    chips = chips_of(found.layout, held, wanted.hdu, wanted.wcs_key)
    sky = boxes.needs_sky(wanted.centers, wanted.size)
    tables = tables_of(chips, found.layout) if wanted.wcs or sky else []
    if sky:
        held = yield from fetched(tables, found, held, address, wanted)
        tables = []
    windows = [_window(chips, center, wanted.size, found, held) for center in wanted.centers]
    return (yield from taken(windows, found, held, wanted, address, also=tables))


def taken(
    windows: Sequence[tuple[Chip, Window] | HSTCloudError],
    found: Scan,
    held: Segments,
    wanted: Wanted,
    address: str,
    *,
    also: Sequence[ByteRange] = (),
) -> Plan[ByteRange, Piece, list[Outcome]]:
    """Read boxes of images in one round trip, with what goes with them.

    Parameters
    ----------
    windows : sequence of (Chip, Window) or HSTCloudError
        Each image and box; an error is returned in its place.
    found, wanted, address
        As for `cuts`.
    held : Segments
        What is in memory.
    also : sequence of ByteRange
        What else is wanted: the tables of distortion, where they are not held.
    """
    layout = found.layout
    planes = [at if isinstance(at, HSTCloudError) else _planes(at[0], found, wanted) for at in windows]
    ranges: list[ByteRange] = []
    for number, (at, images) in enumerate(zip(windows, planes, strict=True)):
        if isinstance(at, HSTCloudError) or isinstance(images, HSTCloudError):
            continue
        box = at[1].inside
        spans = [(image, box_span(image, box)) for image in images.values() if image.value is None]
        if max((span.stop for _, span in spans), default=0) > layout.size:
            planes[number] = _truncated([span for _, span in spans], found, address)
        else:
            missing = [image for image, span in spans if held.find(*span) is None]
            ranges += [row for image in missing for row in box_ranges(image, box)]
    held = yield from fetched([*also, *ranges], found, held, address, wanted)
    return [
        at
        if isinstance(at, HSTCloudError)
        else images
        if isinstance(images, HSTCloudError)
        else Cut(
            found=found,
            chip=at[0],
            window=at[1],
            solution=at[0].solution(layout, held) if wanted.wcs else None,
            planes={name: box_array(image, at[1].inside, held) for name, image in images.items()},
        )
        for at, images in zip(windows, planes, strict=True)
    ]


def glimpse(key: str, wanted: Wanted, *, size: int | None, like: Layout | None) -> Plan[ByteRange, Piece, Scan]:
    """Walk no farther than to the image that is wanted, where its pixels alone are.

    Parameters
    ----------
    key : str
        Object key.
    wanted : Wanted
        What to read; its ``pixels_alone`` is true.
    size : int, optional
        Bytes of the object, as a listing tells; need not be true.
    like : Layout, optional
        What is known of a file that this one may be like, as far as its image at least.

    Returns
    -------
    Scan
        With the HDUs as far as the image.

    Notes
    -----
    Round trips: one for most first images. Their pixels come with them where a file like it is known, or where name
    and size tell that it is the full frame of a detector; else, or if they lie elsewhere, they take one more.
    """

    def there(hdus: Sequence[HDUExtent]) -> bool:
        return _image_in(hdus, wanted.hdu) is not None

    also = _likely(like, wanted) if like is not None else ()
    return (yield from scan(key, size=size, sibling=like, until=there, also=also))


def _image_in(hdus: Sequence[HDUExtent], hdu: HDULike) -> HDUExtent | None:
    """Return the first image that is meant and has pixels, if there is one."""
    found = (hdus[number] for number in numbers_of(hdus, hdu))
    return next((extent for extent in found if len(extent.shape) == 2 and all(extent.shape)), None)


def _likely(like: Layout, wanted: Wanted) -> Sequence[ByteRange]:
    """Return the pixels that are wanted, if they lie where they lie in a file like this one."""
    extent = _image_in(like.hdus, wanted.hdu)
    if extent is None or extent.bitpix not in STORED:
        return ()
    insides = []
    for center in wanted.centers:
        assert not isinstance(center, SkyCoord)
        window = Window.around(center, boxes.pixels(wanted.size, None), (extent.shape[0], extent.shape[1]))
        insides.append(window.inside)
    return _guessed(extent, tuple(insides), wanted.link, wanted.files)


@functools.lru_cache(64)  # many files are alike
def _guessed(
    extent: HDUExtent, insides: tuple[tuple[tuple[int, int], tuple[int, int]], ...], link: Link, files: int
) -> tuple[ByteRange, ...]:
    """Return what to ask for of the pixels of some boxes, if the image lies about there."""
    image = Image(extent=extent, shape=extent.shape, bitpix=extent.bitpix)
    rows = [row for inside in insides for row in box_ranges(image, inside)]  # empty where they share no pixel
    asks = arrange(rows, link=link, files=files)
    spans = coalesce(asks, gap=0)
    if len(spans) != 1:
        return tuple(asks)
    # A header may be longer or shorter by some cards: then all pixels lie somewhat farther on, or before.
    ((start, stop),) = spans
    return tuple(arrange([ByteRange(max(0, start - SLACK), stop + SLACK)], link=link, files=files))


def fetched(
    ranges: Sequence[ByteRange], found: Scan, held: Segments, address: str, wanted: Wanted
) -> Plan[ByteRange, Piece, Segments]:
    """Read what is not held of `ranges` in one batch, and return all that is held then."""
    if max((one.stop for one in ranges), default=0) > found.layout.size:
        raise _truncated(ranges, found, address)
    return (yield from completed(held, ranges, link=wanted.link, files=wanted.files))


def _truncated(ranges: Sequence[ByteRange], found: Scan, address: str) -> TruncatedFileError:
    last = max(wanted.stop for wanted in ranges) - 1
    message = (
        f"{address} is truncated: byte {last} was wanted, but the object ends after {found.layout.size} bytes. "
        "The copy in the bucket is incomplete."
    )
    return TruncatedFileError(message, key=found.layout.key)


def _window(
    chips: Sequence[Chip], center: Center, size: Extent, found: Scan, held: Segments
) -> tuple[Chip, Window] | HSTCloudError:
    """Return the chip that holds a position, and the box on it."""
    layout, best, nearest = found.layout, None, None
    try:
        for chip in likely_first(chips, center) if isinstance(center, SkyCoord) else chips[:1]:
            sky = boxes.needs_sky([center], size)
            solution = chip.solution(layout, held) if sky else None
            place = chip.place(center, solution) if isinstance(center, SkyCoord) else center
            if place is None:
                continue
            window = Window.around(place, boxes.pixels(size, solution), chip.shape)
            if window.holds_center and window.area:  # a box of one pixel on the very edge has none of the image's
                return chip, window
            if window.area and (best is None or window.area > best[1].area):
                best = chip, window
            if nearest is None or window.distance < nearest[1].distance:
                nearest = chip, window
    except HSTCloudError as error:
        return error
    if best is not None:
        return best
    return _outside(chips, center, nearest, layout.key)


def _outside(chips: Sequence[Chip], center: Center, nearest: tuple[Chip, Window] | None, key: str) -> OutsideImageError:
    asked = center.to_string("hmsdms") if isinstance(center, SkyCoord) else f"pixel {center}"
    if nearest is None:
        names = ", ".join(title(chip.extent) for chip in chips)
        where = f"is more than two images away from {names}"
    else:
        chip, window = nearest
        x, y = window.place
        where = (
            f"lies at pixel ({x:.1f}, {y:.1f}) of {title(chip.extent)}, whose shape is {chip.shape}: a box of "
            f"{window.shape} pixels around it would have to be {window.distance} pixels nearer to share one with it"
        )
    advice = "Give a position that the image shows, or a larger size."
    return OutsideImageError(f"{asked} {where}, in {key}. {advice}", key=key)


def _planes(chip: Chip, found: Scan, wanted: Wanted) -> dict[str, Image]:
    """Return the images to read: the one that was asked for and, if it is science, what goes with it."""
    planes = {"SCI": chip.image}
    if chip.extent.name.upper() != "SCI":
        return planes
    names = ["ERR"] * wanted.uncertainty + ["DQ"] * wanted.mask + ["WHT"] * (wanted.uncertainty or wanted.mask)
    for name in names:
        image = companion(chip, found.layout, found.segments, name)
        if image is not None:
            planes[name] = image
    return planes
