"""The work as this package does it, through its public functions alone."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from astropy.io import fits

import hst_cloud as hst
from benchmarks.reading.files import File
from benchmarks.reading.values import TEN, Ready, Setting, as_is, keywords, texts
from hst_cloud.fits.index import Index
from hst_cloud.fits.predict import siblings


def product(file: File) -> hst.Product:
    """Return a file as a list of products names it: MAST tells its size."""
    return hst.Product(filename=file.name, key=file.key, size=file.size)


def forget() -> None:
    """Let this process know of no file that it has read; its connections stay."""
    siblings.cache_clear()


def _knowing(setting: Setting, knowledge: str) -> tuple[Callable[[], None], Index | bool]:
    """Return what brings about what a process knows before it reads, and the index that it reads with."""
    if knowledge == "index":
        return forget, Index(setting.scratch / "index")
    if knowledge == "cold":
        return forget, False

    def sibling() -> None:
        forget()
        hst.open(product(setting.files.sibling[0]), index=False).close()

    return sibling, False


# --- One file --------------------------------------------------------------------------------------------------------


def headers_of_one(setting: Setting, *, knowledge: str) -> Ready:
    """Open a file, and take all its headers."""
    before, index = _knowing(setting, knowledge)

    def run(files):
        with hst.open(product(files[0]), index=index) as hdul:
            return [hdu.header for hdu in hdul]

    if knowledge == "index":
        run(setting.files.flc)
    return Ready(run, texts, before)


def section(setting: Setting, *, knowledge: str) -> Ready:
    """Open a file, and read a section of SCI,1."""
    before, index = _knowing(setting, knowledge)
    y0, y1, x0, x1 = setting.files.facts.box

    def run(files):
        with hst.open(product(files[0]), index=index) as hdul:
            return hdul["SCI", 1].section[y0:y1, x0:x1]

    if knowledge == "index":
        run(setting.files.flc)
    return Ready(run, as_is, before)


def cutout(setting: Setting, *, knowledge: str) -> Ready:
    """Cut a box of pixels out of a file, and nothing else."""
    before, index = _knowing(setting, knowledge)
    center, size = _box(setting)

    def run(files):
        return hst.cutout(
            product(files[0]), center, size, hdu=("SCI", 1), uncertainty=False, mask=False, wcs=False, index=index
        )

    if knowledge == "index":
        hst.open(product(setting.files.flc[0]), index=index).close()
    return Ready(run, lambda got: as_is(got.data), before)


def _box(setting: Setting) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return center (x, y) and size (y, x) of the box that is read."""
    y0, y1, x0, x1 = setting.files.facts.box
    # The center is between two pixels where the box has an even number of them: as astropy.nddata.Cutout2D has it.
    return ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5), (y1 - y0, x1 - x0)


def again(setting: Setting) -> Ready:
    """Open a file that was opened before, take all its headers, and read a section."""
    before, index = _knowing(setting, "index")
    y0, y1, x0, x1 = setting.files.facts.box

    def run(files):
        with hst.open(product(files[0]), index=index) as hdul:
            return [hdu.header for hdu in hdul], hdul["SCI", 1].section[y0:y1, x0:x1]

    run(setting.files.flc)
    return Ready(run, lambda got: (texts(got[0]), got[1]), before)


def whole(setting: Setting, *, knowledge: str) -> Ready:
    """Read all of a file into arrays."""
    before, index = _knowing(setting, knowledge)

    def run(files):
        return hst.read(product(files[0]), index=index)

    if knowledge == "index":
        run(setting.files.flc)
    return Ready(run, images, before)


def images(hdul: fits.HDUList) -> list[np.ndarray]:
    """Return the arrays of the images of a file that was read whole, which are in native byte order."""
    found = [hdu.data for hdu in hdul if hdu.is_image and hdu.data is not None]
    assert all(array.dtype.isnative for array in found)
    return found


# --- Many files ------------------------------------------------------------------------------------------------------


def cutouts(setting: Setting, *, knowledge: str, in_flight: int, wcs: bool = False) -> Ready:
    """Cut a box out of many files, with or without its place on the sky."""
    before, index = _knowing(setting, knowledge)
    center, size = _box(setting)

    def cut(files, *, wcs):
        return hst.cutouts(
            [product(file) for file in files], center, size, hdu=("SCI", 1), uncertainty=False, mask=False, wcs=wcs,
            in_flight=in_flight, index=index,
        )  # fmt: skip

    if knowledge == "index":
        cut(setting.files.flc, wcs=True)  # without it, no more headers are read than that of the image
    run = functools.partial(cut, wcs=wcs)
    return Ready(run, lambda got: [one.data for one in got], before)


def all_keywords(setting: Setting, *, in_flight: int) -> Ready:
    """Read all keywords of both HDUs of many files into one table."""
    del setting

    def run(files):
        return hst.headers([product(file) for file in files], ["*", "1.*"], index=False, in_flight=in_flight)

    def plain(table):
        names = table.colnames[1:]
        pairs = []
        for values in zip(*(table[name].tolist() for name in names), strict=True):  # None where masked
            row = dict(zip(names, values, strict=True))
            second = {name.removeprefix("1."): row.pop(name) for name in names if name.startswith("1.")}
            pairs.append([keywords(row), keywords(second)])
        return pairs

    return Ready(run, plain, forget)


def ten_keywords(setting: Setting, *, in_flight: int) -> Ready:
    """Read ten keywords of the primary header of many files into one table."""
    del setting

    def run(files):
        return hst.headers([product(file) for file in files], list(TEN), index=False, in_flight=in_flight)

    return Ready(run, lambda table: [keywords({n: row[n] for n in TEN}) for row in table], forget)


def tables(setting: Setting, *, in_flight: int) -> Ready:
    """Read the tables of many files, with units."""
    del setting

    def run(files):
        return [table for _, table in hst.tables([product(file) for file in files], index=False, in_flight=in_flight)]

    def plain(read):
        return [
            {name: (np.asarray(getattr(one[name], "value", one[name])), one[name].unit is not None)
             if hasattr(one[name], "unit") else (np.asarray(one[name]), False) for name in one.colnames}
            for one in read
        ]  # fmt: skip

    return Ready(run, plain, forget)


def columns(setting: Setting, *, in_flight: int) -> Ready:
    """Read the columns of the tables of many files, as bare arrays."""
    del setting

    def run(files):
        return [found for _, found in hst.columns([product(file) for file in files], index=False, in_flight=in_flight)]

    return Ready(run, as_is, forget)
