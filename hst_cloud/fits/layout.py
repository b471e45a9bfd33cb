"""A FITS file as byte ranges: where each HDU's header and data lie, found by walking the headers alone.

The walk proves each HDU's position by the one before, and stops where the bytes no longer look like FITS: judging
them is astropy's business. What it reads is what `hst_cloud.fits.predict` guesses, in few round trips; a guess that is
wrong leaves a gap, and the walk asks again from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from hst_cloud.errors import FormatError, StoreUnavailableError
from hst_cloud.fits.guards import check_header
from hst_cloud.fits.predict import (
    FIRST,
    FIRST_DRIZZLED,
    SMALL,
    Guess,
    first_block,
    from_grammar,
    from_sibling,
    windows,
    without,
)
from hst_cloud.fits.structure import BLOCK, LONGEST_HEADER, HDUExtent, Layout, extent, header_stop, longer, plausible
from hst_cloud.store.link import Link
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.ranges import arrange, coalesce, split
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = [
    "BLOCK",
    "FIRST",
    "FIRST_DRIZZLED",
    "LONGEST_HEADER",
    "SMALL",
    "HDUExtent",
    "Layout",
    "Scan",
    "completed",
    "header_stop",
    "scan",
]

MOST_HDUS = 2000
"""HDUs of a file at most: twenty times what HST's have."""

SPARE = 256 * 1024
"""Bytes that are read beyond the end of a sibling: two more headerlets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A walk's result: the layout, and the bytes that were read for it."""

    layout: Layout
    """Where everything lies."""
    segments: Segments
    """What was read: all headers, and what came with them."""
    known: bool = False
    """Whether it is of an earlier read: then nothing was asked for it now."""


def scan(
    key: str,
    *,
    size: int | None = None,
    sibling: Layout | None = None,
    first: int | None = None,
    until: Callable[[Sequence[HDUExtent]], bool] | None = None,
    also: Sequence[ByteRange] = (),
) -> Plan[ByteRange, Piece, Scan]:
    """Walk the headers of a file.

    Parameters
    ----------
    key : str
        Object key.
    size : int, optional
        Bytes of the object as a product list or a listing tells; need not be true.
    sibling : Layout, optional
        The layout of a file that this one may be like, as `~hst_cloud.fits.predict.Siblings` finds it.
    first : int, optional
        Bytes to ask for at once, where most of the file is wanted anyway.
    until : callable, optional
        Tells of the HDUs that are proven whether they are enough; the walk then goes no farther, and its layout has
        those alone.
    also : sequence of ByteRange, optional
        What to read with the first request beside headers, for it is probably wanted.

    Raises
    ------
    FormatError
        A header contradicts itself, or has no END within 16 MiB.

    Notes
    -----
    Round trips: one for a file within `first`, or of at most 1 MiB whose size is known, or like its sibling; else two
    (the first block; all that the instrument's grammar says is behind it), and one more for each guess that was wrong.
    """
    asked = _first(key, size, sibling, until) if first is None else [ByteRange(0, first)]
    asked = sorted([*asked, *without(also, asked)])
    asked, answers = yield from guessed(asked, None if sibling is None else _first(key, None, None, None))
    total, etag = answers[0].size, answers[0].etag
    read, held = list(asked), _segments(asked, answers)
    hdus: list[HDUExtent] = []
    while _walk(key, hdus, held, total, until):
        asked = without(_next(key, hdus, held, total, sibling, tail=until is None), read)
        if not asked:  # the store gave less than was asked for
            break
        answers = yield asked
        read += asked
        held += _segments(asked, answers)
    return Scan(layout=Layout(key=key, size=total, etag=etag, hdus=tuple(hdus)), segments=held)


def guessed(
    asked: list[ByteRange], otherwise: list[ByteRange] | None
) -> Plan[ByteRange, Piece, tuple[list[ByteRange], Sequence[Piece]]]:
    """Ask for ranges that were guessed of a file like this one; return what was asked for at last, and its answers.

    Parameters
    ----------
    asked : list of ByteRange
        What was guessed.
    otherwise : list of ByteRange or None
        What to ask for if the store does not give that: not every store can read behind the end of an object, where a
        file that is larger may have led. None if nothing was guessed.
    """
    try:
        return asked, (yield asked)
    except StoreUnavailableError:
        if otherwise is None:
            raise
    return otherwise, (yield otherwise)


def completed(
    held: Segments, ranges: Iterable[ByteRange], *, link: Link | None = None, files: int = 1
) -> Plan[ByteRange, Piece, Segments]:
    """Read what is not held of `ranges` in one batch, and return all that is held then.

    Parameters
    ----------
    held : Segments
        What is in memory.
    ranges : iterable of ByteRange
        What is wanted.
    link : Link, optional
        What the requests are arranged for; None to join what is at most 256 KiB apart.
    files : int, optional
        Objects that are read like this at the same time.

    Notes
    -----
    Requests: as `hst_cloud.store.ranges.arrange` says, or one for each run of what lies close and one more for each
    further 8 MiB of it; none where all is held.
    """
    wanted = list(ranges)
    if wanted and held.find(min(one.start for one in wanted), max(one.stop for one in wanted)) is not None:
        return held
    rest = [ByteRange(held.reach(start), stop) for start, stop in wanted]  # empty where all of it is held
    if link is None:
        asks = [part for run in coalesce(rest) for part in split(run)]
    else:
        asks = arrange(rest, link=link, files=files, few=True)
    if not asks:
        return held
    answers = yield asks
    return held + _segments(asks, answers)


def _first(
    key: str, size: int | None, sibling: Layout | None, until: Callable[[Sequence[HDUExtent]], bool] | None
) -> list[ByteRange]:
    """Return what to ask for before anything was read."""
    block = first_block(key, size)
    if sibling is None or block.stop == size:
        return [block]
    if until is not None:
        enough = next((n for n in range(1, len(sibling.hdus) + 1) if until(sibling.hdus[:n])), 0)
        if enough:
            headers = tuple(hdu.header for hdu in sibling.hdus[:enough])
            return coalesce([block, *windows(Guess(headers=headers), 0, None)], gap=0)
    if sibling.size <= SMALL:
        return [ByteRange(0, max(block.stop, sibling.size + SPARE))]
    guess = from_sibling(sibling)
    assert guess is not None  # it has HDUs
    return coalesce([block, *windows(guess, 0, size, end=sibling.size + SPARE)], gap=0)


def _walk(
    key: str,
    hdus: list[HDUExtent],
    held: Segments,
    size: int,
    until: Callable[[Sequence[HDUExtent]], bool] | None,
) -> bool:
    """Add to `hdus` what the bytes at hand prove, and tell whether more bytes would prove more that is wanted."""
    at = hdus[-1].stop if hdus else 0
    while at < size and not (until is not None and hdus and until(hdus)):
        run = held.run(at)
        stop = header_stop(run)
        if stop is None:
            have = len(run)
            ends = at + have >= size or (have >= BLOCK and not plausible(run, at))
            if plausible(run, at) and (have >= LONGEST_HEADER or (ends and have > SMALL)):
                message = f"{key} has a header at byte {at} without END in its {have} bytes: it is not read any further"
                raise FormatError(message, key=key)
            return not ends
        header = bytes(run[:stop])
        found = extent(header, at, key)
        if found is None:
            return False
        check_header(header, found, key)
        hdus.append(found)
        if len(hdus) > MOST_HDUS:
            message = f"{key} has more than {MOST_HDUS} HDUs: it is not read any further than byte {at}"
            raise FormatError(message, key=key)
        at = found.stop
    return False


def _next(
    key: str, hdus: Sequence[HDUExtent], held: Segments, size: int, sibling: Layout | None, *, tail: bool
) -> list[ByteRange]:
    """Return what to ask for when the walk has come to a gap behind `hdus`, with or without the tail of the file."""
    at = hdus[-1].stop if hdus else 0
    have = len(held.run(at))
    guess = from_sibling(sibling, hdus) if sibling is not None else None
    if guess is None and len(hdus) > 1:
        heads = [bytes(held.run(h.header.start)[: h.header.size]) for h in hdus[:2]]
        guess = from_grammar(key, hdus, (heads[0], heads[1]), size)
    if guess is not None and guess.headers and not tail:
        guess = replace(guess, tail=None)
    wanted = windows(guess, at, size) if guess is not None else []
    # A header that is longer than was thought is read on; without a guess, all that is known is where it begins.
    rest = ByteRange(at, size if size - at - have <= SMALL else at + have + longer(have, FIRST))
    return coalesce([*wanted, rest] if have or guess is None else wanted, gap=0)


def _segments(asked: Sequence[ByteRange], answers: Sequence[Piece]) -> Segments:
    return Segments((one.start, answer.data) for one, answer in zip(asked, answers, strict=True))
