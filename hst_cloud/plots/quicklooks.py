"""Quick looks: a picture of a product as it is in the archive, drawn from as few of its bytes as will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from hst_cloud import drawable
from hst_cloud.archive.inputs import as_product
from hst_cloud.drawable import Floats, kind_of
from hst_cloud.errors import FormatError
from hst_cloud.fits.reader import open as open_product
from hst_cloud.plots.canvas import COLORS, figure_of, fit_flux, quiet_wcs, sky_axes, stretch, titled
from hst_cloud.store.adapters import StoreLike
from hst_cloud.values import ProductLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["counts", "events", "image", "quicklook", "spectrum"]


def quicklook(
    product: ProductLike | fits.HDUList, *, pixels: int = 1000, name: str = "", store: StoreLike = None
) -> Figure:
    """Draw what a product holds: an image, a spectrum, photon events, or counts against time.

    Parameters
    ----------
    product : Product, Row, str or HDUList
        What `hst_cloud.open` takes, or what it returned.
    pixels : int, optional
        Greatest height and width of the part of an image that is read, about its center.
    name : str, optional
        What the title calls the product: by default its file name, or for an HDUList what its header says.
    store : optional
        Where to read, as in `hst_cloud.open`; of no meaning for an HDUList.

    Returns
    -------
    matplotlib.figure.Figure
        To be shown or saved.

    Raises
    ------
    FormatError
        There is nothing in the product that could be drawn.
    MissingExtraError
        matplotlib is not installed.
    HSTCloudError
        The product cannot be opened or read: see `hst_cloud.open`.

    Notes
    -----
    Requests: those of opening, and one batch for the data that are drawn.
    """
    if not isinstance(product, fits.HDUList):
        with open_product(product, store=store) as hdul:
            return quicklook(hdul, pixels=pixels, name=name or as_product(product).filename)
    match kind_of(product):
        case "image":
            return image(product, pixels=pixels, name=name)
        case "spectrum":
            return spectrum(product, name=name)
        case "events":
            return events(product, name=name)
        case "counts":
            return counts(product, name=name)


# --- Images ----------------------------------------------------------------------------------------------------------


def image(hdul: fits.HDUList, *, pixels: int = 1000, name: str = "") -> Figure:
    """Draw the center of the first image, with its sky coordinates where it has any.

    The stretch is asinh, so that faint and bright parts both show: up to the 99.7th percentile, and from the 1st or,
    where dead pixels drag that down, from three standard deviations of the noise below the median. Pixels without
    data (NaN, or exactly zero in a drizzled image) are left blank and do not count.

    Parameters
    ----------
    hdul : HDUList
        An open product.
    pixels : int, optional
        Greatest height and width of the part that is read.
    name : str, optional
        What the title calls it; by default what the header says.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes and a color bar.

    Raises
    ------
    FormatError
        There is no image.
    MissingExtraError
        matplotlib is not installed.
    """
    figure = figure_of()
    hdu = next((h for h in hdul if drawable.is_image(h)), None)
    if hdu is None:
        message = f"{drawable.name_of(hdul[0].header)} holds no image with two axes"
        raise FormatError(message)
    rows, columns = (drawable.middle(length, pixels) for length in hdu.shape[-2:])
    data = drawable.part_of(hdu, (0,) * (len(hdu.shape) - 2) + (rows, columns))
    if "DRIZCORR" in hdul[0].header and drawable.suffix_of(hdul[0].header) in {"drz", "drc"}:
        data[data == 0] = np.nan  # nothing was exposed there: DrizzlePac Handbook, final_fillval
    axes = sky_axes(figure, quiet_wcs(hdu.header, hdul))
    # In pixels of the whole image, to which the coordinates belong.
    extent = (columns.start - 0.5, columns.stop - 0.5, rows.start - 0.5, rows.stop - 0.5)
    drawn = axes.imshow(
        data, origin="lower", extent=extent, norm=stretch(data), cmap="gray", interpolation="nearest", aspect="equal"
    )
    axes.set_facecolor("#d9dde2")
    figure.colorbar(
        drawn, ax=axes, label=drawable.unit_text(hdu.header.get("BUNIT", "")) or "value", shrink=0.9, pad=0.03
    )
    _title(
        axes,
        hdul,
        f"{hdu.name or 'PRIMARY'},{hdu.ver} [{rows.start}:{rows.stop}, {columns.start}:{columns.stop}]",
        name,
    )
    return figure


# --- Spectra ---------------------------------------------------------------------------------------------------------


def spectrum(hdul: fits.HDUList, *, name: str = "") -> Figure:
    """Draw flux against wavelength for every segment, stripe or order of the first table of spectra.

    Samples with a serious flag (``DQ & SDQFLAGS``, or a weight of zero) are left out. The flux axis is fitted to what
    lies outside of the airglow of hydrogen and oxygen, which dwarfs many a target.

    Parameters
    ----------
    hdul : HDUList
        An open ``x1d``, ``x1dsum`` or ``sx1``.
    name : str, optional
        What the title calls it; by default what the header says.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes.

    Raises
    ------
    FormatError
        There is no table with WAVELENGTH and FLUX.
    MissingExtraError
        matplotlib is not installed.
    """
    figure = figure_of()
    hdu = next(
        (h for h in hdul if isinstance(h, fits.BinTableHDU) and {"WAVELENGTH", "FLUX"} <= set(h.columns.names)), None
    )
    if hdu is None:
        message = f"{drawable.name_of(hdul[0].header)} holds no table with WAVELENGTH and FLUX"
        raise FormatError(message)
    table = hdu.data
    wavelength = np.atleast_2d(np.asarray(table["WAVELENGTH"], dtype=np.float64))
    flux = np.where(drawable.flagged(hdu, wavelength.shape), np.nan, np.atleast_2d(table["FLUX"]).astype(np.float64))
    glow = drawable.airglow(wavelength)
    power = drawable.power_of_ten(flux[~glow])
    flux = flux / 10.0**power
    axes = figure.add_subplot()
    labels = [str(s).strip() for s in table["SEGMENT"]] if "SEGMENT" in hdu.columns.names else []
    for i, (x, y) in enumerate(zip(wavelength, flux, strict=True)):
        color = COLORS[i % (len(COLORS) if labels else 2)]  # of neighboring orders, two are enough
        _line(axes, x, y, color, labels[i] if labels else None)
    fit_flux(axes, flux[~glow])
    axes.set(
        xlabel=f"Wavelength ({drawable.unit_text(hdu.columns['WAVELENGTH'].unit) or 'Angstrom'})",
        ylabel=f"Flux ($10^{{{power}}}$ {drawable.unit_text(hdu.columns['FLUX'].unit)})",
    )
    if labels:
        axes.legend(frameon=False, fontsize=9)
    what = f"{len(flux)} {'segment' if labels else 'order'}{'' if len(flux) == 1 else 's'}"
    _title(axes, hdul, f"{hdu.name},{hdu.ver}, {what}", name)
    return figure


def _line(axes: Axes, x: Floats, y: Floats, color: str, label: str | None) -> None:
    """Draw one spectrum: as it is where it is short, under its running means where it is noisy and long."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    width = len(y) // 2000
    if width > 1:
        axes.plot(x, y, color=color, alpha=0.22, linewidth=0.4, rasterized=True)
        x, y = drawable.means(x, width), drawable.means(y, width)
    axes.plot(x, y, color=color, linewidth=0.8, label=label)


# --- Counts of the FGS -----------------------------------------------------------------------------------------------


def counts(hdul: fits.HDUList, *, name: str = "") -> Figure:
    """Draw the counts of the four photomultipliers of a Fine Guidance Sensor against time.

    The channels are named by ``GTYPEn`` (PMTXA, PMTXB, PMTYA, PMTYB; the star selectors' angles and the flags are not
    read). A sample lasts ``CD1_1`` seconds, 0.025 as the sensors count 40 times a second, and the first one is at
    ``CRPIX1``: FGS Data Handbook, chapter 2. Samples that hold ``FILL1`` or ``FILL2`` are left out. Lines are means
    over the longest time that leaves them sharp; the range of what they average is shaded.

    Parameters
    ----------
    hdul : HDUList
        An open ``a1f``, ``a2f`` or ``a3f``.
    name : str, optional
        What the title calls it; by default what the header says.

    Returns
    -------
    matplotlib.figure.Figure
        Two sets of axes: the photomultipliers of the X and of the Y interferometer.

    Raises
    ------
    FormatError
        The first HDU holds no counts.
    MissingExtraError
        matplotlib is not installed.
    """
    figure = figure_of()
    header = hdul[0].header
    channels = drawable.fgs_channels(header)
    if not channels:
        message = f"{drawable.name_of(header)} holds no counts of an FGS: its first HDU names no channel by GTYPEn"
        raise FormatError(message)
    first, last = min(channels.values()), max(channels.values())
    samples = drawable.part_of(hdul[0], slice(first, last + 1))
    for fill in ("FILL1", "FILL2"):
        if isinstance(header.get(fill), int | float):
            samples[samples == header[fill]] = np.nan
    step = float(header.get("CD1_1", 0.025))
    time = np.asarray((np.arange(samples.shape[1]) + 1 - float(header.get("CRPIX1", 1.0))) * step, dtype=np.float64)
    width = max(1, samples.shape[1] // 900)
    panels = figure.subplots(2, 1, sharex=True)
    for axis, axes in zip("XY", panels, strict=True):
        for color, (channel, row) in zip(COLORS, [c for c in channels.items() if c[0][3] == axis], strict=False):
            _trace(axes, time, samples[row - first], width=width, color=color, label=f"PMT {channel[3:]}")
        axes.set_ylabel(f"{axis} axis (counts / {step * 1000:g} ms)")
        axes.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
    panels[-1].set_xlabel(f"Time since {header.get('DATE-OBS', '')} {header.get('TIME-OBS', '')} UT (s)")
    what = f"{samples.shape[1]:,} samples" + (f", means of {width * step:g} s" if width > 1 else "")
    _title(panels[0], hdul, what, name)
    return figure


def _trace(axes: Axes, time: Floats, values: Floats, *, width: int, color: str, label: str) -> None:
    if width > 1:
        rows = values[: len(values) // width * width].reshape(-1, width)
        filled = np.isfinite(rows)
        low = np.where(filled, rows, np.inf).min(axis=1)
        high = np.where(filled, rows, -np.inf).max(axis=1)
        time, values = drawable.means(time, width), drawable.means(values, width)
        empty = ~filled.any(axis=1)
        low[empty] = high[empty] = np.nan
        axes.fill_between(time, low, high, color=color, alpha=0.16, linewidth=0)
    axes.plot(time, values, color=color, linewidth=0.9, label=label)


# --- Photon events ---------------------------------------------------------------------------------------------------


def events(hdul: fits.HDUList, *, name: str = "") -> Figure:
    """Draw photon events as an image of the detector: how many fell where.

    Parameters
    ----------
    hdul : HDUList
        An open ``corrtag``, ``rawtag`` or ``tag``.
    name : str, optional
        What the title calls it; by default what the header says.

    Returns
    -------
    matplotlib.figure.Figure
        One set of axes and a color bar.

    Raises
    ------
    FormatError
        There is no table of events.
    MissingExtraError
        matplotlib is not installed.
    """
    figure = figure_of()
    hdu = next(
        (h for h in hdul if isinstance(h, fits.BinTableHDU) and drawable.event_columns(set(h.columns.names))), None
    )
    if hdu is None:
        message = f"{drawable.name_of(hdul[0].header)} holds no table of events"
        raise FormatError(message)
    across, up = drawable.event_columns(set(hdu.columns.names))
    table = hdu.data
    axes = figure.add_subplot()
    drawn = axes.hist2d(table[across], table[up], bins=(400, 200), cmap="magma", norm=_log_norm(), rasterized=True)[3]
    figure.colorbar(drawn, ax=axes, label="Events", pad=0.03)
    axes.set(xlabel=f"{across} (pixels)", ylabel=f"{up} (pixels)", facecolor="black")
    _title(axes, hdul, f"{hdu.name},{hdu.ver}, {len(table):,} events", name)
    return figure


def _log_norm() -> Any:
    from matplotlib.colors import LogNorm  # noqa: PLC0415  # an optional dependency

    return LogNorm(vmin=1)


# --- Around the picture ----------------------------------------------------------------------------------------------


def _title(axes: Any, hdul: fits.HDUList, what: str, name: str) -> None:
    """Say which product, target and filter it is; and below, in small, what of it was drawn."""
    header = hdul[0].header
    instrument = "/".join(filter(None, (str(header.get(k, "")).strip() for k in ("INSTRUME", "DETECTOR"))))
    element = drawable.element_of(header)
    first = "  ".join(
        filter(None, (name or drawable.name_of(header), str(header.get("TARGNAME", "")).strip(), instrument, element))
    )
    seconds = header.get("EXPTIME", header.get("TEXPTIME"))
    if seconds is None and len(hdul) > 1:
        seconds = hdul[1].header.get("EXPTIME")
    second = what + (f", {seconds:g} s" if isinstance(seconds, int | float) else "")
    titled(axes, first, second)
