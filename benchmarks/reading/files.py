"""What is read: files of true size and structure, made once and kept in a folder that is laid out like the bucket.

================  =====================================================================================================
``flc``           100 keys of one ACS/WFC image of 168 MB: 20 HDUs, as jbqf03gjq_flc.fits
``sibling``       one key of another, whose headers are longer and whose tail holds one headerlet more
``small``         1,000 files of 524 kB, each of its own: an image, both of its headers in the first 48 KiB
``more``          10,000 keys of those, for what the number of files costs
``stis``          1,000 STIS x1d of 78 kB, each of its own: one row of 19 columns, as odj102010_x1d.fits
``cos``           1,000 keys of 20 COS x1dsum of 1.8 MB: two rows of 16 columns, with the errors of CalCOS 3.4
================  =====================================================================================================

Pixels are noise, as those of the sky are: nothing on the way can compress them. The values in the headers of each
of the thousand files are its own. What has several keys is one file with several links, so that it all fits into the
memory that the system keeps of files: a disk is not what is measured.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from hst_cloud.archive.names import key_of, parse_filename
from hst_cloud.testing.demo import cos, headerlets, imaging, stis, targets
from hst_cloud.testing.demo.blocks import binary_table, block, card, image

VERSION = 1
"""Of what is made; another version is made anew."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SIDE = 346  # pixels of a small image, so that it has 524 kB with its headers
PREFIX = 48 * 1024
"""Bytes that hold both headers of a small file: what a peer reads that is told so."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many keys of each kind there are, and how much smaller than in truth an flc is."""

    flc: int = 100
    small: int = 1000
    more: int = 10_000
    stis: int = 1000
    cos: int = 1000
    distinct: int = 20
    """COS files that are each of their own."""
    scale: int = 1


FULL = Counts()
QUICK = Counts(flc=6, small=12, more=24, stis=12, cos=6, distinct=3, scale=8)


@dataclass(frozen=True, slots=True)
class File:
    """One key of the bucket."""

    name: str
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Where things lie in an flc: what a reader may know who has read it before."""

    headers: tuple[tuple[int, int], ...]
    """Bytes of each header, ``[start, stop)``."""
    tail: int
    """Where the small HDUs behind the images begin."""
    pixels: int
    """Where the pixels of SCI,1 begin."""
    shape: tuple[int, int]
    """Of SCI,1, along y and x."""
    box: tuple[int, int, int, int]
    """The cutout that is read of SCI,1: first row, one past the last, first column, one past the last."""

    @property
    def span(self) -> tuple[int, int]:
        """Bytes from the first pixel of the cutout to one past its last."""
        y0, y1, x0, x1 = self.box
        width = self.shape[1]
        return self.pixels + 4 * (y0 * width + x0), self.pixels + 4 * ((y1 - 1) * width + x1)


@dataclass(frozen=True, slots=True)
class Files:
    """Everything that there is to read."""

    folder: Path
    """Laid out like the bucket."""
    flc: tuple[File, ...]
    sibling: tuple[File, ...]
    small: tuple[File, ...]
    more: tuple[File, ...]
    stis: tuple[File, ...]
    cos: tuple[File, ...]
    facts: Facts


def files(cache: Path, counts: Counts = FULL) -> Files:
    """Return what there is to read below `cache`; make it if it is not there."""
    folder = cache / f"{VERSION}-{'-'.join(str(n) for n in asdict(counts).values())}"
    listing = folder / "listing.json"
    if not listing.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = {kind: [asdict(one) for one in links] for kind, links in _make(folder, counts)}
        fresh = folder / "listing.new"
        fresh.write_text(json.dumps(made), encoding="ascii")
        fresh.replace(listing)
    known = {
        kind: tuple(File(**one) for one in links)
        for kind, links in json.loads(listing.read_text(encoding="ascii")).items()
    }
    return Files(folder=folder, facts=_facts(folder / known["flc"][0].key), **known)


def _make(folder: Path, counts: Counts) -> Iterator[tuple[str, list[File]]]:
    first, second = _flc(counts.scale)
    yield "flc", _linked(folder, [first], _names("j", "flc", counts.flc, program=1))
    yield "sibling", _linked(folder, [second], _names("j", "flc", 1, program=10))
    small = _linked(folder, _small(counts.small), _names("j", "flt", counts.small, program=100))
    yield "small", small
    paths = [folder / one.key for one in small]
    yield "more", _linked(folder, paths, _names("j", "flt", counts.more, program=1000))
    yield "stis", _linked(folder, _stis(counts.stis), _names("o", "x1d", counts.stis, program=100))
    yield "cos", _linked(folder, _cos(counts.distinct), _names("l", "x1dsum", counts.cos, program=100))


def _names(letter: str, suffix: str, count: int, *, program: int) -> list[str]:
    """Return names of files as the archive has them: fifty exposures of each program, ten of each visit."""
    last = "0" if suffix == "x1dsum" else "q"
    found = []
    for n in range(count):
        visit, exposure = n // 10 % 5 + 1, n % 10 * 37 + 36
        root = f"{letter}{_coded(40_000 + program + n // 50, 3)}{_coded(visit, 2)}{_coded(exposure, 2)}{last}"
        found.append(f"{root}_{suffix}.fits")
    return found


def _coded(number: int, length: int) -> str:
    return "".join(_DIGITS[number // 36**n % 36] for n in reversed(range(length)))


def _linked(folder: Path, contents, names: list[str]) -> list[File]:
    """Write each content once, or take the file that it names, and give it every so manyth of the names."""
    found: list[File] = []
    paths: list[Path] = []
    contents = iter(contents)
    for number, name in enumerate(names):
        key = key_of(parse_filename(name))
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        content = next(contents, None)
        if isinstance(content, bytes):
            path.write_bytes(content)
            paths.append(path)
        else:
            if content is not None:
                paths.append(content)
            os.link(paths[number % len(paths)], path)
        found.append(File(name, key, path.stat().st_size))
    return found


# --- Contents --------------------------------------------------------------------------------------------------------


def _flc(scale: int) -> tuple[bytes, bytes]:
    """Return an flc, and another one of the same shape whose headers are longer and whose tail is."""
    exposure = targets.SPIRAL_FIRST
    first = imaging.acs_wfc_flc.to_bytes(exposure, scale=scale)
    parts = []
    with fits.open(io.BytesIO(first)) as hdul:
        for hdu in hdul:
            start, data, span = (hdu.fileinfo()[where] for where in ("hdrLoc", "datLoc", "datSpan"))
            header = first[start:data]
            if hdu.name in {"PRIMARY", "SCI"}:
                cards = _cards(header)
                header = block(cards, len(cards) + 40)
            parts.append(header + first[data : data + span])
    return first, b"".join([*parts, headerlets.headerlet(exposure, 5, scale)])


def _cards(header: bytes) -> list[str]:
    """Return the cards of a header, without END and what follows it."""
    text = header.decode("ascii")
    cards = [text[i : i + 80] for i in range(0, len(text), 80)]
    return cards[: next(i for i, one in enumerate(cards) if one.startswith("END     "))]


def _small(count: int) -> Iterator[bytes]:
    """Yield images whose headers are those of an flc and its first SCI, each with values of its own."""
    model = imaging.acs_wfc_flc.to_bytes(scale=64)
    with fits.open(io.BytesIO(model)) as hdul:
        heads = [_cards(model[info["hdrLoc"] : info["datLoc"]]) for info in (hdul[n].fileinfo() for n in (0, 1))]
    # What the image's own cards say is written anew: shape, name, version.
    own = re.compile(r"XTENSION|BITPIX|NAXIS|PCOUNT|GCOUNT|INHERIT|EXTNAME|EXTVER")
    heads[1] = [one for one in heads[1] if not own.match(one)]
    names = _names("j", "flt", count, program=100)
    for number, name in enumerate(names):
        rng = np.random.default_rng([20240203, number])
        primary, science = ([_varied(one, name[:9], rng) for one in cards] for cards in heads)
        primary = [card("NEXTEND", 1) if one.startswith("NEXTEND") else one for one in primary]
        pixels = rng.standard_normal((_SIDE, _SIDE), dtype=np.float32)
        yield block(primary) + image(pixels, science, name="SCI", count=241)


def _varied(one: str, rootname: str, rng: np.random.Generator) -> str:
    """Return a card as another exposure would have it: its name, and its measured numbers."""
    one = one.replace(targets.SPIRAL_FIRST.rootname, rootname)
    number = re.fullmatch(r"(.{8}= )( *)(-?\d+\.\d{2,})( .*)", one)
    if number is None or rng.random() < 0.3:
        return one
    start, _, text, end = number.groups()
    decimals = len(text.partition(".")[2])
    varied = f"{float(text) * (1 + rng.normal(0, 1e-3)):.{decimals}f}"
    return f"{start}{varied:>20}{end}"[:80].ljust(80)


def _stis(count: int) -> Iterator[bytes]:
    """Yield first-order spectra, an exposure each."""
    for number, name in enumerate(_names("o", "x1d", count, program=100)):
        exposure = replace(targets.STANDARD_CCD, start=60320.84 + number / 50, seconds=120.0 + number % 60)
        yield stis.stis_ccd_x1d.to_bytes(exposure, rootname=name[:9], scale=1)


def _cos(count: int) -> Iterator[bytes]:
    """Yield sums of far-ultraviolet spectra with the columns that CalCOS has added since 3.4."""
    added = ("ERROR_LOWER", "VARIANCE_FLAT", "VARIANCE_COUNTS", "VARIANCE_BKG")  # COS Data Handbook 5.1, table 2.6
    for number in range(count):
        exposure = replace(targets.NUCLEUS, start=60315.1 + number, seconds=3760.4 + number)
        content = cos.cos_x1dsum.to_bytes(exposure, scale=1)
        with fits.open(io.BytesIO(content)) as hdul:
            info, data, table = hdul[1].fileinfo(), hdul[1].data, hdul[1]
            rows = np.zeros(len(data), data.dtype.descr + [(name, ">f4", (data["FLUX"].shape[1],)) for name in added])
            for name in data.dtype.names:
                rows[name] = data[name]
            rng = np.random.default_rng([20240204, number])
            for name in added:
                rows[name] = rng.standard_normal(rows[name].shape, dtype=np.float32)
            units = {column.name: column.unit for column in table.columns if column.unit}
            units |= dict.fromkeys(added[:1], units["ERROR"]) | dict.fromkeys(added[1:], "count")
            others = re.compile(r"XTENSION|BITPIX|NAXIS|PCOUNT|GCOUNT|TFIELDS|T(TYPE|FORM|UNIT|DISP)\d|EXTNAME|EXTVER")
            head = [one for one in _cards(content[info["hdrLoc"] : info["datLoc"]]) if not others.match(one)]
        yield content[: info["hdrLoc"]] + binary_table(rows, head, name="SCI", units=units)


# --- Facts -----------------------------------------------------------------------------------------------------------


def _facts(path: Path) -> Facts:
    with fits.open(path, memmap=True) as hdul:
        infos = [hdu.fileinfo() for hdu in hdul]
        height, width = hdul["SCI", 1].shape
        large = max(number for number, hdu in enumerate(hdul) if hdu.name in {"SCI", "ERR", "DQ"})
        side = min(100, height // 4)
        y, x = int(height * 0.54), int(width * 0.38)
        return Facts(
            headers=tuple((info["hdrLoc"], info["datLoc"]) for info in infos),
            tail=infos[large + 1]["hdrLoc"],
            pixels=infos[hdul.index_of(("SCI", 1))]["datLoc"],
            shape=(height, width),
            box=(y, y + side, x, x + side),
        )
