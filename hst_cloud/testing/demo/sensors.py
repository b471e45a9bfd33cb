"""Files of the Fine Guidance Sensors: photomultiplier counts while the sensor scans across a star.

Structure, channels and cards as in the public f64y0106m_a1f file; FGS Data Handbook 2.
"""

from __future__ import annotations

import numpy as np

from hst_cloud.testing.demo import targets
from hst_cloud.testing.demo.blocks import Array, Value, ascii_table, card, primary, primary_array, title
from hst_cloud.testing.demo.exposures import DATE, Exposure, filename, section, values_of
from hst_cloud.testing.demo.scenes import generator, transfer
from hst_cloud.testing.demo.structures import list_length, structure

__all__ = ["BAD", "FILL", "fgs_a1f", "fgs_a2f", "fgs_a3f", "fgs_dmf"]

FILL = 99999998  # keyword FILL1: no sample, after a channel's end
BAD = 99999999  # keyword FILL2: a sample lost in the telemetry
_SAMPLES = 89688  # at 40 Hz
_RATE = 40.0
_CHANNELS = ("PMTXA", "PMTXB", "PMTYA", "PMTYB", "SSENCA", "SSENCB", "FLAGS")
_FLAGS_EVERY = 6  # the flags come with every sixth sample
_SLEWING, _SCANNING = -2142765056, 810024960  # values of FLAGS seen in the public file
_ARCSEC_PER_STEP = 0.00061  # of the star selectors' encoders: FGS Instrument Handbook 2.3


@structure("a1f", targets.DOUBLE)
def fgs_a1f(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """Sensor 1, which looks at the target: it slews, finds the star, and scans it back and forth in transfer mode."""
    return _sensor(exposure, scale, seed, 1)


@structure("a2f", targets.DOUBLE)
def fgs_a2f(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """Sensor 2, which tracks a guide star."""
    return _sensor(exposure, scale, seed, 2)


@structure("a3f", targets.DOUBLE)
def fgs_a3f(exposure: Exposure, scale: int, seed: int) -> list[bytes]:
    """Sensor 3, which tracks the other guide star."""
    return _sensor(exposure, scale, seed, 3)


@structure("dmf", targets.DOUBLE)
def fgs_dmf(exposure: Exposure, _scale: int, _seed: int) -> list[bytes]:
    """Parameters of the observation: a header alone; no listing was found."""
    values = values_of(exposure) | _own(exposure, 1) | {"FILETYPE": "DMF"}
    return [primary(section("fgs.primary", values), filename=filename(exposure.rootname, "dmf"), nextend=0, date=DATE)]


def _sensor(exposure: Exposure, scale: int, seed: int, sensor: int) -> list[bytes]:
    count = list_length(_SAMPLES, scale)
    rng = generator(seed, exposure.rootname, sensor)
    data = _scan(count, rng) if sensor == 1 else _track(count, rng)
    data[:4, rng.integers(0, count, 3)] = BAD
    flags = np.where(np.arange(count) < count // _FLAGS_EVERY, data[6], FILL)
    data[6] = flags
    suffix = f"a{sensor}f"
    root = exposure.rootname
    values = values_of(exposure) | _own(exposure, sensor)
    values |= {"EXPTIME": count / _RATE, "EXPEND": exposure.start + count / _RATE / 86400}
    good = data[:4][data[:4] != BAD]
    values |= {"DATAMIN": float(data.min()), "DATAMAX": float(good.max()), "ALLG-MIN": float(data.min())}
    values |= {"ALLG-MAX": float(good.max()), "ADUR_OB": count / _RATE, "PDUR_OB": float(round(count / _RATE))}
    # the files are converted from an older format, whose names they carry
    named = f"{root}_cvt.{suffix[:2]}h"
    cards = [*section("fgs.primary", values), *_time_axis(exposure)]
    return [
        primary_array(data, cards, filename=named, nextend=1, date=DATE, count=231),
        _groups(exposure, data, f"{named}.tab"),
    ]


def _own(exposure: Exposure, sensor: int) -> dict[str, Value]:
    return {
        "ROOTNAME": exposure.rootname.upper(), "EXPNAME": exposure.rootname.upper(), "INSTRUME": "FGS",
        "PRIMESI": f"FGS{exposure.detector}", "FGSNO": sensor, "FGSID": exposure.detector,
        "PRATGT": exposure.target.ra, "PDECTGT": exposure.target.dec, "NTGTS": 1, "TGT_MAG": 11.1,
        "CAST_FLT": exposure.elements[0],
    }  # fmt: skip


def _time_axis(exposure: Exposure) -> list[str]:
    return [
        card("CRPIX1", 1.0), card("CRPIX2", 0.0), card("CRVAL1", (exposure.start - 46066.0) * 86400),
        card("CRVAL2", 0.0), card("CTYPE1", "SECONDS"), card("CTYPE2", "GROUP_NUMBER"), card("CD1_1", 1 / _RATE),
        card("CD1_2", 0.0), card("CD2_1", 0.0), card("CD2_2", 1.0),
    ]  # fmt: skip


def _scan(count: int, rng: np.random.Generator) -> Array:
    """Return the channels of a sensor that slews, then scans the target along both axes, back and forth."""
    data = np.empty((7, count), np.int32)
    time = np.arange(count) / _RATE
    found = 0.12 * count / _RATE  # dark during the slew, then the star
    on = time > found
    period = max((time[-1] - found) / 12, 4.0)  # a dozen scans in any observation, however short
    angle = 1.1 * (2 * np.abs(2 * ((time - found) / period % 1) - 1) - 1)  # arcsec from the null, a triangle
    fringe_x = transfer(angle, 0.15, 0.28)
    fringe_y = transfer(0.85 * angle, 0.08, 0.28)
    for channel, level, signal in (
        (0, 318.0, fringe_x), (1, 301.0, -fringe_x), (2, 251.0, fringe_y), (3, 304.0, -fringe_y),
    ):  # fmt: skip
        data[channel] = rng.poisson(np.where(on, level * (1 + signal), 0.4))
    steps = angle / _ARCSEC_PER_STEP
    slew = np.clip(time / found, 0, 1)
    data[4] = np.rint(229864 + (336558 - 229864) * slew + np.where(on, 0.35 * steps, 0))
    data[5] = np.rint(831720 + (706453 - 831720) * slew - np.where(on, steps, 0))
    data[6] = np.where(np.arange(count) * _FLAGS_EVERY / _RATE > found, _SCANNING, _SLEWING)
    return data


def _track(count: int, rng: np.random.Generator) -> Array:
    """Return the channels of a sensor that holds a guide star at its null."""
    data = np.empty((7, count), np.int32)
    wander = np.cumsum(rng.normal(0, 0.02, count))
    for channel, level in enumerate((640.0, 612.0, 598.0, 655.0)):
        data[channel] = rng.poisson(level * (1 + 0.03 * np.sin(np.arange(count) / 900.0 + channel)))
    data[4], data[5] = np.rint(412300 + wander), np.rint(655120 - wander)
    data[6] = _SCANNING
    return data


def _groups(exposure: Exposure, data: Array, name: str) -> bytes:
    """Return the table of the channels: extreme values and time axis of each."""
    columns, start = [], 1
    for number, (key, form, width, display) in enumerate(
        (
            ("DATAMIN", "E15.7", 15, "G15.7"), ("DATAMAX", "E15.7", 15, "G15.7"), ("CRPIX1", "E15.7", 15, "G15.7"),
            ("CD1_1", "E15.7", 15, "G15.7"), ("CRVAL1", "D25.17", 25, "G25.16"), ("CTYPE1", "A8", 8, "A8"),
        ),
        1,
    ):  # fmt: skip
        columns.append([
            card(f"TTYPE{number}", key), card(f"TBCOL{number}", start), card(f"TFORM{number}", form),
            card(f"TUNIT{number}", ""), card(f"TDISP{number}", display),
        ])  # fmt: skip
        start += width + 1
    clock = (exposure.start - 46066.0) * 86400
    lines = []
    for channel, values in zip(_CHANNELS, data, strict=True):
        step = _FLAGS_EVERY / _RATE if channel == "FLAGS" else 1 / _RATE
        good = values[~np.isin(values, (FILL, BAD))]
        numbers = " ".join(f"{float(one):15.7E}" for one in (good.min(), good.max(), 1.0, step))
        lines.append(f"{numbers} {clock:25.17E}" + f" {'SECONDS':<8}")
    names = [card("INHERIT", True), card("ROOTNAME", exposure.rootname.upper())]
    names += [card("EXPNAME", exposure.rootname.upper()), *title("ascii table column descriptors")]
    return ascii_table(lines, columns, names, name=name, count=53)
