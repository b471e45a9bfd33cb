"""The counts of the Fine Guidance Sensors as a table of time and channels.

A file a1f, a2f or a3f holds one sensor's telemetry as an image of 32-bit integers, one line for each channel, and a
table of text that tells the time of each line's samples. Photon counts and star selectors are sampled every 25 ms, the
status flags every 150 ms (FGS Data Handbook, sec. 2.1), so the line of flags is filled to a sixth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from numpy.typing import NDArray

from hst_cloud.errors import FormatError, QueryError, TruncatedFileError
from hst_cloud.fits.columns import TableRead, decode, form_of
from hst_cloud.fits.keywords import Memo, Value, pick
from hst_cloud.fits.layout import Layout, Scan, completed
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import Plan
from hst_cloud.store.segments import Segments
from hst_cloud.values import ByteRange

__all__ = ["CHANNELS", "Sensor", "as_channels", "is_sensor", "read_channels"]

CHANNELS = ("PMTXA", "PMTXB", "PMTYA", "PMTYB", "SSENCA", "SSENCB", "FLAGS")
"""Names of the lines, where keywords GTYPEn do not tell: counts of the four photomultipliers, positions of the two
star selectors, flags (FGS Data Handbook, sec. 2.1; keywords GTYPE1 to GTYPE7 of f64y0106m_a1f.fits)."""

FILL, BAD = 99999998, 99999999
"""No sample, and a lost one, where keywords FILL1 and FILL2 do not tell (f64y0106m_a1f.fits)."""

_NAME = re.compile(r"_a[123]f\.fits$")
_SCALING = ("CRVAL1", "CD1_1", "CRPIX1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What was read of one sensor's file."""

    layout: Layout
    """Where everything lies."""
    keywords: dict[str, Value]
    """Those of the primary header that are used here."""
    names: tuple[str, ...]
    """The channels."""
    starts: tuple[float, ...]
    """Seconds of each channel's first sample."""
    steps: tuple[float, ...]
    """Seconds between each channel's samples."""
    rows: range
    """The samples that were wanted, at the rate of the fastest channel."""
    lines: tuple[NDArray[np.int32], ...]
    """The samples of each channel, at its own rate, that lie within `rows`."""

    @property
    def ratios(self) -> tuple[int, ...]:
        """Samples of the fastest channel to one of each."""
        return _ratios(self.steps)


def is_sensor(key: str) -> bool:
    """Tell whether a file is one of a sensor's telemetry."""
    return _NAME.search(key) is not None


def read_channels(found: Scan, *, rows: slice | None = None) -> Plan[ByteRange, Piece, Sensor]:
    """Read the samples of every channel of a file whose headers are known.

    Notes
    -----
    Round trips: one for the times of the channels, and one for their samples, unless these came with the headers.
    """
    layout, held, key = found.layout, found.segments, found.layout.key
    keywords = _keywords(layout, held)
    channels, length = keywords.get("NAXIS2"), keywords.get("NAXIS1")
    if keywords.get("BITPIX") != 32 or not isinstance(channels, int) or not isinstance(length, int) or channels < 1:
        there = f"BITPIX = {keywords.get('BITPIX')}, {length} by {channels} samples"
        message = f"{key} is no file of a sensor's channels: expected lines of 32-bit integers, found {there}"
        raise FormatError(message, key=key)
    given = layout.hdus[1] if len(layout.hdus) > 1 else None
    if given is not None and held.find(*given.data) is None:
        held = yield from completed(held, [given.data])
    starts, steps = _axes(layout, held, keywords, channels)
    span = range(*(rows or slice(None)).indices(length))
    if span.step != 1:
        message = f"rows must be consecutive, found {rows}: give a slice without a step"
        raise QueryError(message)
    wanted = [_line(layout, number, length, span, ratio) for number, ratio in enumerate(_ratios(steps))]
    if max((r.stop for r in wanted), default=0) > layout.size:
        message = f"{key} is truncated: bytes up to {wanted[-1].stop} were wanted, the object ends after {layout.size}"
        raise TruncatedFileError(message, key=key)
    held = yield from completed(held, wanted)
    names = tuple(_channel(keywords, number, channels) for number in range(1, channels + 1))
    lines = tuple(_samples(held, r) for r in wanted)
    return Sensor(
        layout=layout, keywords=keywords, names=names, starts=starts, steps=steps, rows=span, lines=lines
    )  # fmt: skip


def as_channels(sensor: Sensor, columns: Sequence[str] | None = None) -> QTable:
    """Return the table of time and channels.

    Parameters
    ----------
    sensor : Sensor
        What was read.
    columns : sequence of str, optional
        Which columns, in this order; all by default.

    Returns
    -------
    astropy.table.QTable
        One row for each sample of the fastest channels. ``TIME`` is in seconds of the file's own axis, which counts
        from MJD 46066 (1985-01-01) where EXPSTART is the start. A slower channel's value stands in every row until
        its next. What the telemetry lost, or never held, is masked. Counts are those of one sample.

    Raises
    ------
    QueryError
        There is no column of a name.
    """
    fast = sensor.ratios.index(1)
    index = np.arange(sensor.rows.start, sensor.rows.stop)
    made: dict[str, Any] = {"TIME": u.Quantity(sensor.starts[fast] + index * sensor.steps[fast], u.s)}
    fills = [sensor.keywords.get("FILL1", FILL), sensor.keywords.get("FILL2", BAD)]
    for name, line, ratio in zip(sensor.names, sensor.lines, sensor.ratios, strict=True):
        values = line if ratio == 1 else line[index // ratio - (sensor.rows.start // ratio)]
        mask = (values == fills[0]) | (values == fills[1])
        if name.startswith("PMT"):
            made[name] = Masked(u.Quantity(values, u.ct, copy=False, dtype=None), mask=mask)
        else:
            made[name] = MaskedColumn(values, mask=mask)
    for name in columns or ():
        if name not in made:
            message = f"{sensor.layout.key} has no column {name}: its columns are {', '.join(made)}"
            raise QueryError(message, key=sensor.layout.key)
    meta = {
        "key": sensor.layout.key, "etag": sensor.layout.etag, "hdu": 0, "rows": (sensor.rows.start, sensor.rows.stop),
        "EXPSTART": sensor.keywords.get("EXPSTART"), "FGSNO": sensor.keywords.get("FGSNO"),
    }  # fmt: skip
    return QTable({name: made[name] for name in columns or made}, meta=meta, copy=False)


def _keywords(layout: Layout, held: Segments) -> dict[str, Value]:
    names = ["BITPIX", "NAXIS1", "NAXIS2", "FILL1", "FILL2", "EXPSTART", "FGSNO", *_SCALING]
    names += [f"GTYPE{number}" for number in range(1, 100)]
    header = held.find(*layout.hdus[0].header) if layout.hdus else None
    return pick(bytes(header), names, Memo()) if header else {}


def _channel(keywords: dict[str, Value], number: int, channels: int) -> str:
    name = keywords.get(f"GTYPE{number}")
    if isinstance(name, str) and name.strip():
        return name.strip()
    return CHANNELS[number - 1] if channels == len(CHANNELS) else f"CHANNEL{number}"


def _axes(
    layout: Layout, held: Segments, keywords: dict[str, Value], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return when each channel's first sample was taken, and the time between its samples."""
    table = _scaling(layout, held)
    if table is None or any(len(table[name]) != channels for name in _SCALING):
        value, step, pixel = (np.full(channels, float(_number(keywords, name))) for name in _SCALING)
    else:
        value, step, pixel = (table[name].astype(float) for name in _SCALING)
    if not (step > 0).all():
        message = f"{layout.key} has samples that take no time: CD1_1 is {step.tolist()}"
        raise FormatError(message, key=layout.key)
    return tuple((value + (1 - pixel) * step).tolist()), tuple(step.tolist())


def _number(keywords: dict[str, Value], name: str) -> float:
    value = keywords.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _scaling(layout: Layout, held: Segments) -> dict[str, NDArray[Any]] | None:
    """Return the table of each channel's axis, if there is one."""
    if len(layout.hdus) < 2:
        return None
    extent = layout.hdus[1]
    view = held.find(*extent.header)
    if view is None or bytes(view[:14]) != b"XTENSION= 'TAB":
        return None
    header = bytes(view)
    form = form_of(header, layout.key)
    if not set(_SCALING) <= set(form.names):
        return None
    read = TableRead(
        key=layout.key, number=1, extent=extent, header=header, form=form, names=_SCALING,
        rows=range(extent.data.size // form.width), segments=held,
    )  # fmt: skip
    return decode(read)


def _ratios(steps: Sequence[float]) -> tuple[int, ...]:
    return tuple(max(1, round(step / min(steps))) for step in steps)


def _line(layout: Layout, number: int, length: int, span: range, ratio: int) -> ByteRange:
    """Return the bytes of a channel's samples within `span`."""
    first, last = span.start // ratio, -(-span.stop // ratio)
    start = layout.hdus[0].data.start + 4 * number * length
    return ByteRange(start + 4 * first, start + 4 * (last if len(span) else first))


def _samples(held: Segments, where: ByteRange) -> NDArray[np.int32]:
    view = held.find(*where) if where.size else b""
    assert view is not None
    return np.frombuffer(view, ">i4").astype(np.int32)
