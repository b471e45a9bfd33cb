"""What there is to draw in a file, and what the headers say of it: the part of `hst_cloud.plots` that draws nothing."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from hst_cloud.errors import FormatError

__all__ = [
    "Floats",
    "Picture",
    "airglow",
    "element_of",
    "event_columns",
    "fgs_channels",
    "flagged",
    "is_image",
    "kind_of",
    "means",
    "middle",
    "name_of",
    "part_of",
    "power_of_ten",
    "suffix_of",
    "unit_text",
]

Picture: TypeAlias = Literal["image", "spectrum", "events", "counts"]
"""What can be drawn."""

Floats: TypeAlias = npt.NDArray[np.float64]


def kind_of(hdul: fits.HDUList) -> Picture:
    """Return what a file holds, as its headers tell.

    Raises
    ------
    FormatError
        It holds nothing that could be drawn.
    """
    if fgs_channels(hdul[0].header):
        return "counts"
    for hdu in hdul:
        names = set(hdu.columns.names) if isinstance(hdu, fits.BinTableHDU) else set()
        if {"WAVELENGTH", "FLUX"} <= names:
            return "spectrum"
        if event_columns(names):
            return "events"
        if is_image(hdu):
            return "image"
    message = (
        f"{name_of(hdul[0].header)} has no picture: expected an image, a table with WAVELENGTH and FLUX, a table of "
        f"events, or counts of an FGS; found {', '.join(f'{h.name} ({type(h).__name__})' for h in hdul)[:300]}"
    )
    raise FormatError(message)


def fgs_channels(header: fits.Header) -> dict[str, int]:
    """Return the rows of the first HDU that hold counts, by the channel's name; none where it is no file of FGS."""
    if header.get("INSTRUME") != "FGS" or header.get("NAXIS") != 2:
        return {}
    names = {str(header.get(f"GTYPE{n + 1}", "")).strip(): n for n in range(header["NAXIS2"])}
    return {name: n for name, n in names.items() if name in {"PMTXA", "PMTXB", "PMTYA", "PMTYB"}}


def event_columns(names: set[str]) -> tuple[str, ...]:
    """Return the columns that tell where an event fell: COS's corrected or raw ones, or STIS's."""
    pairs = (("XCORR", "YCORR"), ("RAWX", "RAWY"), ("AXIS1", "AXIS2"))
    return next((pair for pair in pairs if {"TIME", *pair} <= names), ())


def is_image(hdu: Any) -> bool:
    """Tell whether an HDU holds a picture of the sky or of a detector."""
    if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        return False
    return len(hdu.shape) >= 2 and min(hdu.shape) > 0 and hdu.name not in {"D2IMARR", "WCSDVARR"}


def flagged(hdu: fits.BinTableHDU, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which samples the pipeline holds for bad."""
    names, bad = set(hdu.columns.names), np.zeros(shape, dtype=bool)
    if "DQ" in names:
        # COS Data Handbook 2.7.2, STIS Data Handbook 2.5.2: SDQFLAGS tells which flags are serious.
        bad |= (np.atleast_2d(hdu.data["DQ"]).astype(np.int64) & int(hdu.header.get("SDQFLAGS", 0))) != 0
    if "DQ_WGT" in names:
        bad |= np.atleast_2d(hdu.data["DQ_WGT"]) == 0
    return bad


def airglow(wavelength: Floats) -> npt.NDArray[np.bool_]:
    """Return where the upper atmosphere shines: Lyman alpha and O I 1304, COS Instrument Handbook 7.4.1."""
    return ((wavelength > 1212.0) & (wavelength < 1219.5)) | ((wavelength > 1300.5) & (wavelength < 1308.0))


def power_of_ten(flux: Floats) -> int:
    """Return the power of ten that goes from the axis into its label."""
    good = np.abs(flux[np.isfinite(flux)])
    top = float(np.percentile(good, 99.5)) if good.size else 0.0
    return int(np.floor(np.log10(top))) if top > 0 else 0


def means(values: Floats, width: int) -> Floats:
    """Return the means of runs of `width` values, without those that are not a number."""
    rows = values[: len(values) // width * width].reshape(-1, width)
    good = np.isfinite(rows)
    number = good.sum(axis=1)
    total = np.where(good, rows, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, number, out=np.full(len(rows), np.nan), where=number > 0))


def name_of(header: fits.Header) -> str:
    """Return what the header calls the file."""
    return str(header.get("FILENAME") or header.get("ROOTNAME") or "the file").strip()


def suffix_of(header: fits.Header) -> str:
    """Return what kind of file the header says it is: ``drc``."""
    return name_of(header).partition(".")[0].rpartition("_")[2]


def element_of(header: fits.Header) -> str:
    """Return the filter or grating, with its central wavelength where it has one."""
    words = [str(header[k]).strip() for k in ("FILTER", "FILTER1", "FILTER2", "OPT_ELEM", "CAST_FLT") if k in header]
    named = [word for word in words if word and not word.upper().startswith(("CLEAR", "N/A"))]
    central = header.get("CENWAVE")
    return " ".join(dict.fromkeys([*named, *([str(central)] if central else [])]))


def unit_text(text: object) -> str:
    """Return a unit as a person writes it: ``electrons/s``."""
    written = " ".join(str(text or "").replace(" /", "/").split())
    if written.isupper():  # BUNIT of the images: ELECTRONS/S
        written = written.lower()
    for stored, shown in (("**2", "²"), ("Angstroms", "Å"), ("Angstrom", "Å"), ("angstrom", "Å")):
        written = written.replace(stored, shown)
    return written


def part_of(hdu: Any, key: Any) -> Floats:
    """Return a copy of a part of an image; astropy has sections of what is in a file alone."""
    part = hdu.data[key] if hdu.fileinfo() is None else hdu.section[key]
    return np.array(part, dtype=np.float64)


def middle(length: int, most: int) -> slice:
    """Return the middle of an axis, at most so many pixels."""
    start = max(0, (length - most) // 2)
    return slice(start, min(length, start + most))
