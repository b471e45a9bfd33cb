"""The peers' ways to read parts of one file, or of a few of which nothing is known: a file-like object for astropy.

s3fs is tuned. Blocks that it keeps were the best of all its caches for an flc: those of 512 KiB for headers, those of
1 MiB for cutouts; its default is 50 MiB. Its pool holds a connection for each thread. To tell it the file's size saves
no request, for it asks all the same. obstore's file-like objects were tried, and took three to twenty-five times as
long: they forget what they have read at every seek.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from astropy.io import fits

from benchmarks.reading.peers import s3fs_session
from benchmarks.reading.values import Ready, Setting, as_is, texts
from hst_cloud.settings import BUCKET

THREADS = 24


def _opener(setting: Setting, kib: int):
    """Return what opens a file for astropy, with blocks of so many KiB."""
    fs = s3fs_session(setting, 100)
    return lambda file: fs.open(f"{BUCKET}/{file.key}", block_size=kib * 1024, cache_type="blockcache")


def _listed(file):
    return fits.open(file, memmap=False, lazy_load_hdus=True)


def headers_of_one(setting: Setting, *, kib: int) -> Ready:
    """Open a file, and take all its headers."""
    opened = _opener(setting, kib)

    def run(files):
        with _listed(opened(files[0])) as hdul:
            return [hdu.header for hdu in hdul]

    return Ready(run, texts)


def section(setting: Setting, *, kib: int) -> Ready:
    """Open a file, and read a section of SCI,1."""
    opened = _opener(setting, kib)
    y0, y1, x0, x1 = setting.files.facts.box

    def run(files):
        with _listed(opened(files[0])) as hdul:
            return hdul["SCI", 1].section[y0:y1, x0:x1]

    return Ready(run, as_is)


def again(setting: Setting, *, kib: int) -> Ready:
    """Open a file that was opened before, take all its headers, and read a section: no peer remembers any of it."""
    opened = _opener(setting, kib)
    y0, y1, x0, x1 = setting.files.facts.box

    def run(files):
        with _listed(opened(files[0])) as hdul:
            return [hdu.header for hdu in hdul], hdul["SCI", 1].section[y0:y1, x0:x1]

    run(setting.files.flc)
    return Ready(run, lambda got: (texts(got[0]), got[1]))


def cutouts(setting: Setting, *, kib: int) -> Ready:
    """Read the section of many files, in threads."""
    one = section(setting, kib=kib).run
    threads = ThreadPoolExecutor(THREADS)
    return Ready(lambda files: list(threads.map(lambda file: one([file]), files)), as_is)
