"""The units of work: which ways each has, and what is demanded of ours.

Demands are ratios to the best of the peers that are named, in a warm process, with as many requests in flight unless
the demand says otherwise. They were set before the package was written, from what a prototype reached; the aims are
how near the limit of the link it should come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from benchmarks.reading import floor, many_files, one_file, ours, whole_file
from benchmarks.reading.values import Make

Side = Literal["ours", "peer", "floor"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do a unit of work."""

    name: str
    side: Side
    make: Make
    gives: str = "result"
    """Ways that give the same under this name must give equal results; a floor gives nothing."""
    work: str = ""
    """Of a floor: which work, as `floor.rounds_of` has it."""
    in_flight: int = 0
    """Of a floor: connections."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is demanded of one of our ways."""

    says: str
    ours: str
    """Our way."""
    peers: tuple[str, ...]
    """The peers' ways, of which the best counts."""
    least: float | None
    """The time of the best peer in units of ours, at least; None where it is told and not demanded."""
    profile: str = "region"


@dataclass(frozen=True, slots=True)
class Aim:
    """How near the floor we should come."""

    ours: str
    floor: str
    most: float | None = None
    """Our time in units of the floor's, at most; None where it is told and nothing is aimed at."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of work."""

    name: str
    title: str
    files: str
    """Which of `Files` it reads."""
    ways: tuple[Way, ...]
    gates: tuple[Gate, ...] = ()
    aims: tuple[Aim, ...] = ()
    many: bool = False
    """Whether it reads all of its files, and not just the first."""
    slow: bool = False
    """Whether a peer takes some ten seconds: it is timed less often, and a peer that is far behind only once."""
    profiles: tuple[str, ...] = ("region",)
    note: str = ""
    """In what the results differ beyond what is compared."""


def _our(name: str, make, gives: str = "result", **options) -> Way:
    return Way(name, "ours", partial(make, **options), gives)


def _peer(name: str, make, gives: str = "result", **options) -> Way:
    return Way(name, "peer", partial(make, **options), gives)


def _floor(work: str, in_flight: int) -> Way:
    name = f"sockets, {work}" if "trip" in work else f"sockets, {in_flight} in flight"
    return Way(name, "floor", partial(floor.sockets, work=work, in_flight=in_flight), "", work, in_flight)


BLOCKS = (512, 1024)
ASTROPY = tuple(f"astropy + s3fs, blocks of {kib} KiB" for kib in BLOCKS)


def _astropy(make, more: str = "") -> tuple[Way, ...]:
    return tuple(_peer(name + more, make, kib=kib) for name, kib in zip(ASTROPY, BLOCKS, strict=True))


HEADERS = Unit(
    "W1",
    "all headers of one flc",
    "flc",
    (
        _our("cold", ours.headers_of_one, knowledge="cold"),
        _our("sibling seen", ours.headers_of_one, knowledge="sibling"),
        _our("index", ours.headers_of_one, knowledge="index"),
        *_astropy(one_file.headers_of_one),
        _floor("headers, 2 round trips", 16),
        _floor("headers, 1 round trip", 16),
    ),
    (Gate("cold", "cold", ASTROPY, 4), Gate("sibling seen", "sibling seen", ASTROPY, 6)),
    (
        Aim("cold", "sockets, headers, 2 round trips", 1.3),
        Aim("sibling seen", "sockets, headers, 1 round trip", 1.3),
    ),
    note="Cold, ours are told the size of the file, as a list of products has it, which tells that it is a full frame: "
    "all headers are asked for where they usually lie; to tell s3fs the size saves it no request",
)
SECTION = Unit(
    "W2",
    "a section of 100 x 100 pixels of one flc",
    "flc",
    (
        _our("cutout, cold", ours.cutout, knowledge="cold"),
        _our("cutout, sibling seen", ours.cutout, knowledge="sibling"),
        _our("cutout, index", ours.cutout, knowledge="index"),
        _our("open and section, cold", ours.section, knowledge="cold"),
        _our("open and section, sibling seen", ours.section, knowledge="sibling"),
        _our("open and section, index", ours.section, knowledge="index"),
        *_astropy(one_file.section),
        _floor("cutout, 2 round trips", 8),
        _floor("cutout, 1 round trip", 8),
    ),
    (
        Gate("cold", "cutout, cold", ASTROPY, 3),
        Gate("sibling seen", "cutout, sibling seen", ASTROPY, 5.5),
        Gate("cold, by an HDUList", "open and section, cold", ASTROPY, None),
        Gate("sibling seen, by an HDUList", "open and section, sibling seen", ASTROPY, None),
    ),
    (
        Aim("cutout, cold", "sockets, cutout, 2 round trips", 1.2),
        Aim("cutout, sibling seen", "sockets, cutout, 1 round trip", 1.2),
    ),
    note="A cutout has pixels, unit and keywords alone, and needs no header behind that of its image: of a full frame "
    "the pixels are asked for where they usually lie; an HDUList has all headers, which is what the aims of the design "
    "count round trips for",
)
_TUNED = tuple(f"{name}, 24 threads" for name in ASTROPY)
CUTOUTS = Unit(
    "W3",
    "that section of {files} files",
    "flc",
    (
        _our("cold, 24 in flight", ours.cutouts, knowledge="cold", in_flight=24),
        _our("cold, 24 in flight, with WCS", ours.cutouts, knowledge="cold", in_flight=24, wcs=True),
        _our("sibling seen, 24 in flight", ours.cutouts, knowledge="sibling", in_flight=24),
        _our("index, 10 in flight", ours.cutouts, knowledge="index", in_flight=10),
        _our("index, 64 in flight", ours.cutouts, knowledge="index", in_flight=64),
        *_astropy(one_file.cutouts, ", 24 threads"),
        _peer("s3fs.cat_ranges, 10 connections", many_files.cat_ranges_cutouts, connections=None),
        _peer("s3fs.cat_ranges, 64 connections", many_files.cat_ranges_cutouts, connections=64),
        _floor("cutouts", 64),
    ),
    (
        Gate("cold, 24 both", "cold, 24 in flight", _TUNED, 4),
        Gate("sibling seen, 24 both", "sibling seen, 24 in flight", _TUNED, None),
        Gate(
            "index, against offsets given and 10 connections",
            "index, 64 in flight",
            ("s3fs.cat_ranges, 10 connections",),
            2.5,
        ),
        Gate("index, 64 both", "index, 64 in flight", ("s3fs.cat_ranges, 64 connections",), None),
        Gate("index, 10 both", "index, 10 in flight", ("s3fs.cat_ranges, 10 connections",), None),
    ),
    (Aim("index, 64 in flight", "sockets, 64 in flight", 1.3),),
    many=True,
    note="Ours are CCDData with unit and keywords, and a WCS with its distortion tables where the name says so, the "
    "others' bare arrays; s3fs.cat_ranges is told where the pixels lie",
)
_ALL = ("obstore, whole files, 24 in flight", "s3fs.cat_ranges, prefixes", "s5cmd")
_ALL_64 = (*_ALL, "obstore, whole files, 64 in flight")
KEYWORDS = Unit(
    "W4",
    "all keywords of {files} files",
    "small",
    (
        _our("24 in flight", ours.all_keywords, in_flight=24),
        _our("64 in flight", ours.all_keywords, in_flight=64),
        _peer(_ALL[0], many_files.obstore_keywords, ten=False, in_flight=24),
        _peer(_ALL[1], many_files.cat_ranges_keywords, ten=False),
        _peer(_ALL[2], many_files.s5cmd_keywords),
        _peer(_ALL_64[-1], many_files.obstore_keywords, ten=False, in_flight=64),
        _floor("prefixes", 24),
        _floor("prefixes", 64),
    ),
    (Gate("24 both", "24 in flight", _ALL, 9), Gate("64 both", "64 in flight", _ALL_64, 9)),
    tuple(Aim(f"{n} in flight", f"sockets, {n} in flight") for n in (24, 64)),
    many=True,
    slow=True,
    note="Ours is one table with a column for each keyword, the others' are dicts; who reads prefixes is told that the "
    "headers lie in the first 48 KiB",
)
_TEN = ("obstore, whole files, 24 in flight", "obstore, prefixes, 24 in flight", "s3fs.cat_ranges, prefixes")
TEN_KEYWORDS = Unit(
    "W4, ten",
    "ten keywords of {files} files",
    "small",
    (
        _our("24 in flight", ours.ten_keywords, in_flight=24),
        _our("64 in flight", ours.ten_keywords, in_flight=64),
        _our("128 in flight", ours.ten_keywords, in_flight=128),
        _peer(_TEN[0], many_files.obstore_keywords, ten=True, in_flight=24),
        _peer(_TEN[1], many_files.obstore_keywords, ten=True, in_flight=24, prefix=True),
        _peer(_TEN[2], many_files.cat_ranges_keywords, ten=True),
        _peer("obstore, prefixes, 128 in flight", many_files.obstore_keywords, ten=True, in_flight=128, prefix=True),
        _floor("prefixes", 24),
        _floor("prefixes", 64),
        _floor("prefixes", 128),
    ),
    (
        Gate("24 both", "24 in flight", _TEN, 2),
        Gate("128 in flight, peers 24 to 100", "128 in flight", _TEN, 8),
        Gate("128 in flight both", "128 in flight", ("obstore, prefixes, 128 in flight",), None),
    ),
    tuple(Aim(f"{n} in flight", f"sockets, {n} in flight") for n in (24, 64, 128)),
    many=True,
    note="As for W4",
)
_WHOLE = ("boto3", "AWS CRT", "s5cmd")
WHOLE = Unit(
    "W5",
    "one flc whole, as native arrays",
    "flc",
    (
        _our("cold", ours.whole, knowledge="cold"),
        _our("index", ours.whole, knowledge="index"),
        _peer(_WHOLE[0], whole_file.boto3),
        _peer(_WHOLE[1], whole_file.crt),
        _peer(_WHOLE[2], whole_file.s5cmd_whole),
        _floor("one whole", 24),
    ),
    (Gate("cold", "cold", _WHOLE, 1.5), Gate("cold", "cold", _WHOLE, 1.0, "far")),
    (Aim("cold", "sockets, 24 in flight", 1.5),),
    profiles=("region", "far"),
)


def _tables(name: str, kind: str, files: str, table: float, column: float) -> Unit:
    whole, arrays = ("obstore, 24 in flight", "s5cmd"), ("obstore, columns, 24 in flight",)
    whole_64, arrays_64 = (*whole, "obstore, 64 in flight"), (*arrays, "obstore, columns, 64 in flight")
    return Unit(
        name,
        f"tables of {{files}} {kind}",
        files,
        (
            _our("tables, 24 in flight", ours.tables, "tables", in_flight=24),
            _our("tables, 64 in flight", ours.tables, "tables", in_flight=64),
            _our("columns, 24 in flight", ours.columns, "columns", in_flight=24),
            _our("columns, 64 in flight", ours.columns, "columns", in_flight=64),
            _peer(whole[0], many_files.obstore_tables, "tables", in_flight=24),
            _peer(whole[1], many_files.s5cmd_tables, "tables"),
            _peer(arrays[0], many_files.obstore_tables, "columns", in_flight=24, columns=True),
            _peer(whole_64[-1], many_files.obstore_tables, "tables", in_flight=64),
            _peer(arrays_64[-1], many_files.obstore_tables, "columns", in_flight=64, columns=True),
            _floor("whole", 24),
            _floor("whole", 64),
        ),
        (
            Gate("as tables, 24 both", "tables, 24 in flight", whole, table),
            Gate("as tables, 64 both", "tables, 64 in flight", whole_64, table),
            Gate("as columns, against tables, 24 both", "columns, 24 in flight", whole, column),
            Gate("as columns, against tables, 64 both", "columns, 64 in flight", whole_64, column),
            Gate("as columns, against columns, 24 both", "columns, 24 in flight", arrays, None),
            Gate("as columns, against columns, 64 both", "columns, 64 in flight", arrays_64, None),
        ),
        tuple(Aim(f"{what}, 24 in flight", "sockets, 24 in flight") for what in ("tables", "columns")),
        many=True,
        slow=True,
        note="Columns are bare arrays, which is less than a table: they are compared with the others' tables, as the "
        "demand was set, and with the others' bare arrays",
    )


STIS = _tables("W6, STIS", "STIS x1d", "stis", 6, 9)
COS = _tables("W6, COS", "COS x1dsum", "cos", 3, 6)
AGAIN = Unit(
    "W7",
    "an flc opened again: all headers and a section",
    "flc",
    (
        _our("index", ours.again),
        *_astropy(one_file.again),
        _floor("cutout, 1 round trip", 8),
    ),
    (Gate("index", "index", ASTROPY, 9),),
    (Aim("index", "sockets, cutout, 1 round trip"),),
)

# What the number of files costs: timed for more and more of them, and no unit of its own.
LADDER = Unit(
    "files",
    "ten keywords of {files} files",
    "more",
    (
        _our("64 in flight", ours.ten_keywords, in_flight=64),
        _peer("obstore, prefixes, 64 in flight", many_files.obstore_keywords, ten=True, in_flight=64, prefix=True),
        _floor("prefixes", 64),
    ),
    many=True,
    slow=True,
)

UNITS = (HEADERS, SECTION, CUTOUTS, KEYWORDS, TEN_KEYWORDS, WHOLE, STIS, COS, AGAIN)
