"""Where the headers of a file probably lie, so that a walk asks for all of them at once.

HST's files follow a grammar. A primary header is followed by sets of images of one shape: SCI, ERR and DQ, with SAMP
and TIME behind them for detectors that are read without being emptied; a combined image by SCI, WHT, CTX and HDRTAB;
a spectrum's table by more of its kind. From the first SCI, from ``NEXTEND`` and from the size of the object follows
how many sets there are and which of their images are constant, which have no data; what is left over is the length of
the headers, or a tail of small HDUs in any order (HDRLET, D2IMARR, WCSDVARR, WCSCORR), which is read as one range.
A sibling, a file of the same instrument, suffix and shape, tells all this before anything is read.

Everything here is a guess: the walk in `hst_cloud.fits.layout` proves each position, and a wrong one costs a round
trip. The structures are those of public files: ACS Data Handbook 2.2, WFC3 Data Handbook 2.2, STIS Data Handbook 2.2,
COS Data Handbook 2.4, DrizzlePac Handbook 1.4.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hst_cloud.fits.structure import BLOCK, Cards, HDUExtent, Layout
from hst_cloud.store.ranges import coalesce
from hst_cloud.values import ByteRange

__all__ = [
    "FIRST",
    "FIRST_DRIZZLED",
    "SLACK",
    "SMALL",
    "Guess",
    "Siblings",
    "first_block",
    "from_grammar",
    "from_sibling",
    "siblings",
    "windows",
    "without",
]

FIRST = 64 * 1024
"""Bytes that hold almost every HST header: 285 cards of an ACS flc take 23 kB, 595 of a drizzled HDRTAB 48 kB."""

FIRST_DRIZZLED = 128 * 1024
"""The same for primary headers of drizzled products, which list their inputs: 857 cards, 69 kB."""

SMALL = 1024 * 1024
"""Bytes of a file, or of its remainder, that are read at once rather than walked: one more round trip costs more."""

TAIL = 4 * 1024 * 1024
"""Bytes of small HDUs at the end of a file that are read as one range: some thirty headerlets of 115 kB."""

LARGE = 256 * 1024
"""Bytes of data that are worth jumping over; a headerlet has 112 kB, a table of distortions 8 kB."""

SLACK = 4 * BLOCK
"""Bytes that are read before and behind where a header is thought to begin and end: 144 cards more or less."""

USUAL = 2 * BLOCK
"""A header of an ERR or DQ extension: 36 to 71 cards in all listings that were found, 12 and 19 in COS's FUV."""

MOST = 256
"""Headers that one guess names at most: an IR ramp has 80 HDUs."""

# Kinds of files that are at most some 100 kB as a rule, or tables that are read for their data anyway: when nobody
# said how large one is, asking for 1 MiB at once costs no more than the file has.
_SMALL_KINDS = frozenset(["asn", "jif", "jit", "jwf", "jwt", "shp", "spt", "sx1", "trl", "udl", "x1d"])
_DRIZZLED = frozenset({"drz", "drc"})
_TAIL_NAMES = frozenset({"D2IMARR", "HDRLET", "HDRTAB", "WCSCORR", "WCSDVARR"})
_RAMPS = frozenset({("WFC3", "IR"), ("NICMOS", "")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Where the headers that are not yet proven may lie."""

    headers: tuple[ByteRange, ...] = ()
    """Headers, in order."""
    tail: int | None = None
    """Where small HDUs begin that reach to the end of the file; None where there is no telling."""


def first_block(key: str, size: int | None) -> ByteRange:
    """Return what to read of a file of which nothing but its key, and perhaps its size, is known.

    All of it if it has at most 1 MiB; else what holds the primary header and that of the first extension.
    """
    if size is not None and 0 < size <= SMALL:
        return ByteRange(0, size)
    kind = suffix_of(key)
    if size is None and (kind in _SMALL_KINDS or kind.startswith("x1dsum")):
        return ByteRange(0, SMALL)
    return ByteRange(0, FIRST_DRIZZLED if kind in _DRIZZLED else FIRST)


def suffix_of(key: str) -> str:
    """Return what a file's name says of its kind, ``flc`` or ``corrtag_a``: what stands between rootname and dot."""
    stem = _filename(key).partition(".")[0]
    return stem[10:] if stem[9:10] == "_" else stem.rpartition("_")[2]


def windows(guess: Guess, at: int, size: int | None, *, end: int | None = None) -> list[ByteRange]:
    """Return the sorted, disjoint ranges that hold the guessed headers.

    Parameters
    ----------
    guess : Guess
        Where they may be.
    at : int
        Where a header begins for certain.
    size : int or None
        Bytes of the object; None where they are not known, and then a tail is read to `end`.
    end : int, optional
        Where the object may end.
    """
    wanted = [ByteRange(h.start - SLACK * (h.start > at), h.stop + SLACK) for h in guess.headers[:MOST]]
    if guess.tail is not None:
        stop = size if size is not None else end
        near = stop is not None and stop - guess.tail <= TAIL
        wanted.append(ByteRange(guess.tail - SLACK * (guess.tail > at), stop if near and stop else guess.tail + FIRST))
    if not wanted:
        wanted.append(ByteRange(at, at + FIRST))
    if size is not None:  # what is left when little is left comes whole
        wanted = [ByteRange(r.start, size if size - max(r.start, at) <= SMALL else min(r.stop, size)) for r in wanted]
    return coalesce((ByteRange(max(r.start, at), r.stop) for r in wanted), gap=SLACK)


def without(wanted: Iterable[ByteRange], read: Iterable[ByteRange]) -> list[ByteRange]:
    """Return what is left of sorted, disjoint ranges when the bytes of `read` are taken out."""
    left = []
    known = coalesce(read, gap=0)
    for one in wanted:
        start = one.start
        for taken in known:
            if taken.stop <= start or taken.start >= one.stop:
                continue
            if taken.start > start:
                left.append(ByteRange(start, taken.start))
            start = taken.stop
        if start < one.stop:
            left.append(ByteRange(start, one.stop))
    return left


# --- From a sibling --------------------------------------------------------------------------------------------------


def from_sibling(sibling: Layout, hdus: Sequence[HDUExtent] = ()) -> Guess | None:
    """Return where the headers behind `hdus` lie if the file is like `sibling`; None if it is seen not to be."""
    count = len(hdus)
    if count >= len(sibling.hdus):
        return None
    if any(one.data.size != other.data.size for one, other in zip(hdus, sibling.hdus, strict=False)):
        return None
    # What is longer in one header than in the sibling's is so in those of the same name.
    longer = {one.name: one.header.size - other.header.size for one, other in zip(hdus, sibling.hdus, strict=False)}
    at = hdus[-1].stop if hdus else 0
    places = []
    for hdu in sibling.hdus[count:]:
        length = max(BLOCK, hdu.header.size + longer.get(hdu.name, 0))
        places.append(ByteRange(at, at + length))
        at += length + _padded(hdu)
    large = [i for i, hdu in enumerate(sibling.hdus[count:], 1) if hdu.data.size > LARGE]
    before = large[-1] if large else 0
    tail = places[before].start if before < len(places) else None
    return Guess(headers=tuple(places[:before]), tail=tail)


class _Seen(NamedTuple):
    place: str
    instrument: str
    suffix: str
    shape: tuple[int, ...]
    layout: Layout


class Siblings:
    """Layouts that were seen lately, found again from the key of a file like it.

    Of each place, instrument (the first letter of the rootname), suffix and shape (the sizes of the data of all HDUs)
    the latest is kept, so that neither two detectors nor a subarray and a full frame displace each other.
    At most `most` are held, of some kB each. May be shared by threads and used after a fork: what is held is one
    tuple, replaced at once; of two threads that note something in the same moment one may be forgotten, which costs
    a round trip some time.

    Parameters
    ----------
    most : int, optional
        Layouts to hold.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._seen: tuple[_Seen, ...] = ()

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, layout: Layout, *, place: str = "") -> None:
        """Remember a layout if it was walked to the end of the object; `place` tells one archive from another."""
        if not 0 < len(layout.hdus) <= MOST or layout.hdus[-1].stop < layout.size or layout.missing:
            return
        fresh = _Seen(place, *_kind(layout.key), tuple(h.data.size for h in layout.hdus), layout)
        others = [seen for seen in self._seen if seen[:4] != fresh[:4]]
        self._seen = (*others[-self._most + 1 :], fresh) if self._most > 1 else (fresh,)

    def find(self, key: str, size: int | None = None, *, place: str = "") -> Layout | None:
        """Return the layout that the file is most likely to have, or None.

        One of the same visit goes before one of the same program, that before any other, and a later before an
        earlier one. A known size must agree but for what a tail may differ by.
        """
        kind = (place, *_kind(key))
        name = _filename(key)

        def likeness(layout: Layout) -> tuple[int, int]:
            other = _filename(layout.key)
            visit = sum(name[:n] == other[:n] for n in (4, 6))  # ipppss: program, visit
            return visit, -abs(layout.size - size) if size is not None else 0

        like = [seen.layout for seen in reversed(self._seen) if seen[:3] == kind]
        return max((x for x in like if size is None or abs(x.size - size) <= SMALL), key=likeness, default=None)


@functools.lru_cache(maxsize=1)
def siblings() -> Siblings:
    """Return the layouts that this process has seen, in whatever archive."""
    return Siblings()


def _kind(key: str) -> tuple[str, str]:
    name = _filename(key)
    return name[:1], f"{suffix_of(key)}.{name.partition('.')[2]}"  # what is compressed has no sibling that is not


def _filename(key: str) -> str:
    return key.rpartition("/")[2]


# --- From the grammar ------------------------------------------------------------------------------------------------


def from_grammar(key: str, hdus: Sequence[HDUExtent], heads: tuple[bytes, bytes], size: int) -> Guess:
    """Return where the headers behind `hdus` lie by what the instrument's files are made of.

    Parameters
    ----------
    key : str
        Object key; its suffix counts.
    hdus : sequence of HDUExtent
        The HDUs that are proven: the primary and at least one extension.
    heads : tuple of bytes
        Headers of the primary and of the first extension.
    size : int
        Bytes of the object.
    """
    at = hdus[-1].stop
    if hdus[-1].name in _TAIL_NAMES:
        return Guess(tail=at)
    primary, first = map(Cards, heads)
    slots = _slots(key, hdus[1], primary, first)
    count = min(primary.integer("NEXTEND", 0) or 0, 2 * MOST)
    learned = {(i - 1) % len(slots): hdu for i, hdu in enumerate(hdus) if i}
    choices = [(_padded(learned[j]),) if j in learned else slot for j, slot in enumerate(slots)]
    usual = [learned[j].header.size if j in learned else USUAL for j in range(len(slots))]
    best, least = Guess(), math.inf
    for pick, sets in itertools.product(itertools.product(*choices), _counts(count, len(slots))):
        rest = range(len(hdus) - 1, sets * len(slots))
        data, headers = [pick[i % len(slots)] for i in rest], [usual[i % len(slots)] for i in rest]
        left = size - at - sum(data) - sum(headers)
        ends = count == sets * len(slots) and suffix_of(key) not in _DRIZZLED
        doubt = len(rest) * USUAL
        if not rest or not (-doubt <= left <= (doubt if ends else TAIL)):
            continue
        # The fewer surprises the better; a tail where there need be none is one, and the larger the stranger.
        surprise: float = sum(choice.index(one) for one, choice in zip(pick, choices, strict=True))
        surprise += 0 if ends else 1 + left / SMALL
        if surprise < least:
            best, least = _placed(at, headers, data, left if ends else 0, ends=ends), surprise
    if least == math.inf and len(slots) > 1 and (len(hdus) - 1) % len(slots) == 0 and size - at <= TAIL:
        return Guess(tail=at)
    return best


def _placed(at: int, headers: Sequence[int], data: Sequence[int], left: int, *, ends: bool) -> Guess:
    """Return the positions of HDUs that follow one another; what they leave of the file is shared out evenly."""
    places = []
    each = left / len(headers)
    for i, (header, length) in enumerate(zip(headers, data, strict=True)):
        shift = round(each * i / BLOCK) * BLOCK
        places.append(ByteRange(at + shift, at + shift + header + max(0, math.ceil(each))))
        at += header + length
    return Guess(headers=tuple(places), tail=None if ends else at)


def _slots(key: str, first: HDUExtent, primary: Cards, cards: Cards) -> tuple[tuple[int, ...], ...]:
    """Return, for each image of a set, the bytes that its data may take, the likeliest first."""
    item = abs(cards.integer("BITPIX", 8) or 8) // 8
    image = cards.text("XTENSION") == "IMAGE" and first.name == "SCI" and first.data.size > 0
    if not image:
        return ((_padded(first),),)
    pixels = first.data.size // item
    kind = suffix_of(key)
    if kind in _DRIZZLED:
        # One plane of CTX for each 32 inputs: DrizzlePac Handbook 1.4; of a single input there may be none.
        planes = (1, 2, 3, 4, 5, 6, 7, 8, 0)
        return ((_padded(first),), (_blocks(4 * pixels),), tuple(_blocks(4 * pixels * n) for n in planes))
    ramp = (primary.text("INSTRUME"), primary.text("DETECTOR")) in _RAMPS
    items = (max(item, 4), 2, 2, 4) if ramp else (max(item, 4), 2)  # ERR, DQ, SAMP, TIME
    full = [_blocks(pixels * n) for n in items]
    # In raw files most are constant; in ramps SAMP and TIME are (ibxy07p9q_ima.fits), in what is made of them not.
    constant = [kind.startswith("raw") or (kind == "ima" and i > 1) for i in range(len(full))]
    return ((_padded(first),), *((0, n) if zero else (n, 0) for zero, n in zip(constant, full, strict=True)))


def _counts(count: int, slots: int) -> Iterable[int]:
    """Return the numbers of sets that `count` extensions may hold: all of them, or some and a tail."""
    most = count // slots
    exact = [most] if most and count % slots == 0 else []
    return [*exact, *(n for n in range(min(most, 16), 0, -1) if n not in exact)]


def _padded(hdu: HDUExtent) -> int:
    return hdu.stop - hdu.data.start


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
