"""The main job from end to end: a question, its observations and products, their keys, an open file, a picture.

`run` does it for one instrument, on whatever archive is the default. `demonstration` makes that an archive of
invented data on this machine, so that nothing needs the network; without it, MAST and the public bucket are asked.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hst_cloud import plots
from hst_cloud.archive.mast import products, search
from hst_cloud.archive.resolve import resolve
from hst_cloud.archive.session import Watcher
from hst_cloud.errors import NotInCloudError, QueryError
from hst_cloud.fits.reader import open as open_product
from hst_cloud.store.meter import Meter
from hst_cloud.testing import LocalArchive, make_demo_archive

__all__ = ["EMBEDDED", "LIVE", "Job", "Shown", "demonstration", "jobs", "run"]

SCALE = 8
"""How many times fewer rows and columns the demonstration's images have than real ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to look for, and which kind of file to draw."""

    instrument: str
    """As `hst_cloud.search` takes it."""
    target: str
    """Name of the object."""
    filters: str | None
    """Filter or grating; None for any."""
    suffix: str
    """Kind of file."""
    proposal: str | None = None
    """Proposal, where the target alone is much observed; None for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What came of a job."""

    instrument: str
    """As asked for."""
    target: str
    """As asked for."""
    observations: int
    """How many there are."""
    products: int
    """How many files of the kind they have."""
    product: str
    """Name of the file that was opened: the first that the bucket holds."""
    key: str
    """Its key."""
    size: int
    """Its bytes."""
    hdus: tuple[str, ...]
    """Names of its HDUs."""
    requests: int
    """Requests that opening and reading it took."""
    bytes_read: int
    """Bytes that those brought."""
    seconds: float
    """Time from the question to the picture."""
    picture: Path
    """Where the picture is."""


EMBEDDED = (
    Job(instrument="ACS/WFC", target="M51", filters="F814W", suffix="drc"),
    Job(instrument="COS/FUV", target="NGC 4151", filters="G130M", suffix="x1dsum"),
    Job(instrument="STIS/NUV-MAMA", target="G191-B2B", filters="E230M", suffix="x1d"),
    Job(instrument="WFC3/UVIS", target="NGC 3603", filters="F555W", suffix="drc"),
    Job(instrument="FGS", target="GJ 748", filters=None, suffix="a1f"),
)
"""One job for each of the five instruments, of which the demonstration archive has the files."""

# Proposals: 10452 is the Heritage mosaic of M 51 (Beckwith), 11360 WFC3's early release science with NGC 3603
# (O'Connell), 8727 the source of the FGS observation f64y0106m in the samples of the FITS Support Office.
LIVE = (
    Job(instrument="ACS/WFC", target="M51", filters="F814W", suffix="drc", proposal="10452"),
    Job(instrument="COS/FUV", target="NGC 4151", filters="G130M", suffix="x1dsum"),
    Job(instrument="STIS/NUV-MAMA", target="G191-B2B", filters="E230M", suffix="x1d"),
    Job(instrument="WFC3/UVIS", target="NGC 3603", filters="F555W", suffix="drc", proposal="11360"),
    Job(instrument="FGS", target="NGC 4151", filters=None, suffix="a1f", proposal="8727"),
)
"""The same for the live archive."""


def jobs(instruments: tuple[str, ...] = (), *, live: bool = False) -> tuple[Job, ...]:
    """Return the jobs of some instruments, or of all.

    Parameters
    ----------
    instruments : tuple of str, optional
        Names such as ``"ACS"`` or ``"ACS/WFC"``, in any case.
    live : bool, optional
        Those for the live archive.

    Raises
    ------
    QueryError
        There is no job of an instrument.
    """
    every = LIVE if live else EMBEDDED
    for name in instruments:
        if not any(_is_of(job, name) for job in every):
            message = f"the demonstration has no instrument {name!r}; it has {', '.join(j.instrument for j in every)}"
            raise QueryError(message)
    return tuple(job for job in every if not instruments or any(_is_of(job, name) for name in instruments))


def _is_of(job: Job, instrument: str) -> bool:
    return instrument.upper() in {job.instrument, job.instrument.partition("/")[0]}


@contextmanager
def demonstration(
    folder: str | Path | None = None,
    *,
    scale: int = SCALE,
    latency: float = 0.0,
    instruments: Iterable[str] | None = None,
) -> Iterator[LocalArchive]:
    """Make the demonstration archive and serve it, as the default archive of every verb, for the body of the ``with``.

    Parameters
    ----------
    folder : str or Path, optional
        Where its files go, and stay; by default a temporary folder, which is removed.
    scale : int, optional
        How many times fewer rows and columns than real images its images have; 1 is full size.
    latency : float, optional
        Seconds before the first byte of each answer, as a network far away has them.
    instruments : iterable of str, optional
        Those whose files are made, such as ``"ACS"``; by default all five.

    Yields
    ------
    LocalArchive
        The archive; its ``requests`` tell what was asked.
    """
    with tempfile.TemporaryDirectory(prefix="hst-cloud-") as temporary:
        place = Path(temporary if folder is None else folder)
        place.mkdir(parents=True, exist_ok=True)
        names = None if instruments is None else {name.partition("/")[0].upper() for name in instruments}
        make_demo_archive(place, scale=scale, instruments=names)
        with LocalArchive(place, latency=latency) as archive:
            yield archive


def run(job: Job, folder: str | Path, *, pixels: int = 1000, progress: Watcher | None = None) -> Shown:
    """Do the main job on the default archive, and leave a picture in `folder`.

    Parameters
    ----------
    job : Job
        What to look for.
    folder : str or Path
        Where the picture goes; it is made if it is not there.
    pixels : int, optional
        Greatest height and width of the section of an image that is read, about its center.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` now and then.

    Returns
    -------
    Shown
        What was found and read.

    Raises
    ------
    NotInCloudError
        Nothing of the kind is in the bucket.
    MissingExtraError
        matplotlib is not installed.
    HSTCloudError
        As `hst_cloud.search`, `hst_cloud.products`, `hst_cloud.resolve` and `hst_cloud.open` say.

    Notes
    -----
    Requests: two or three of MAST's, one LIST for each visit, and as many ranges as `Shown` counts.
    """
    began = time.monotonic()
    observations = search(
        job.target, instrument=job.instrument, filters=job.filters, proposal=job.proposal, progress=progress
    )
    if not len(observations):
        message = f"MAST has no observation of {job.target} with {job.instrument} {job.filters or ''}".rstrip()
        raise NotInCloudError(message)
    files = products(observations, suffix=job.suffix, progress=progress)
    places = resolve(files, verify=True, progress=progress)
    held = places[places["status"] == "in_cloud"]
    if not len(held):
        said = str(places["reason"][0]) if len(places) else f"the {len(observations)} observations list none"
        message = f"the bucket holds no {job.suffix} of {job.target} with {job.instrument}: {said}"
        raise NotInCloudError(message)
    row = held[0]
    meter = Meter()
    with open_product(row, store=meter, index=False) as hdul:
        figure = plots.quicklook(hdul, pixels=pixels, name=str(row["productFilename"]))
        names = tuple(hdu.name or "PRIMARY" for hdu in hdul)
    picture = Path(folder) / f"{str(row['productFilename']).partition('.')[0]}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
    return Shown(
        instrument=job.instrument,
        target=job.target,
        observations=len(observations),
        products=len(files),
        product=str(row["productFilename"]),
        key=str(row["key"]),
        size=int(row["size"]),
        hdus=names,
        requests=meter.traffic.requests,
        bytes_read=meter.traffic.bytes,
        seconds=time.monotonic() - began,
        picture=picture,
    )
