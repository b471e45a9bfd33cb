"""Whole files into a folder: many at a time, each complete and checked or not there at all.

Where a file goes is decided in `hst_cloud.science.targets`, what is missing of it in `hst_cloud.science.partial`, which
check applies in `hst_cloud.fits.verify`; `hst_cloud.science.transfer` takes the steps of one file, and here many of
them become a manifest.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from astropy.table import Table

from hst_cloud.archive.inputs import ProductsLike, as_products
from hst_cloud.archive.places import placed
from hst_cloud.archive.session import Watcher
from hst_cloud.cost.budgets import budget
from hst_cloud.errors import HSTCloudError, HSTCloudWarning, NotInCloudError, ProductNameError, QueryError
from hst_cloud.science.bringing import Bringing
from hst_cloud.science.disk import check_space, local
from hst_cloud.science.manifest import (
    DONE,
    Entry,
    Outcome,
    as_manifest_name,
    entries_of,
    is_manifest,
    known_files,
    products_of,
    read_manifest,
    save,
    table_of,
)
from hst_cloud.science.many import OnError, as_on_error
from hst_cloud.science.partial import leftovers
from hst_cloud.science.references import Which, crds, environment_of, exposures_of
from hst_cloud.science.references import references as references_of
from hst_cloud.science.steps import Reads
from hst_cloud.science.targets import Layout, as_layout, targets
from hst_cloud.science.transfer import Transfer, Trip
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.values import Product

__all__ = ["download"]

IN_FLIGHT = 32
"""Requests at a time. Each may hold 8 MiB, so this is 256 MiB of memory; at 90 MB/s a connection (AWS, "Performance
guidelines for Amazon S3") a dozen fill a link of 1 GB/s, and the others hide the waits between small files."""

_NAMED = 10  # products that a warning spells out

Folder: TypeAlias = "str | os.PathLike[str]"


def download(
    products: ProductsLike | os.PathLike[str],
    folder: Folder,
    *,
    layout: Layout | None = None,
    overwrite: bool = False,
    manifest: str | None = "manifest.ecsv",
    references: Which | None = None,
    source: Literal["bucket", "crds"] = "bucket",
    store: StoreLike = None,
    in_flight: int = IN_FLIGHT,
    on_error: OnError = "skip",
    progress: Watcher | None = None,
) -> Table:
    """Download products into a folder, and tell what became of each.

    A file has its name only when it is complete and checked. What a call that was interrupted or killed has brought is
    gone on with by the next one, and what is there already is not downloaded again.

    Parameters
    ----------
    products : Table, Row, Product, str, list that mixes them, or path of a manifest
        The files: see `hst_cloud.resolve`; one that is named twice is meant once. Or the manifest of an earlier call,
        as a table or as a path that ends in ``.ecsv``: what it has and the folder has not is downloaded.
    folder : str or path
        Where the files go; it is made if it is not there.
    layout : {"flat", "nested"}, optional
        Whether files lie side by side, or in the folders of their keys (``hst/public/jbqf/jbqf03gjq/``). By default
        flat, or as the manifest that is given has it.
    overwrite : bool, optional
        Whether to replace different files that have the names of products; by default these products fail.
    manifest : str or None, optional
        Name of the file in `folder` that the result is written to, beside what it tells of other products; None for no
        such file. It is also what later calls know complete files by.
    references : {"drizzle", "all"}, str or sequence of str, optional
        Calibration reference files to download, too: those that the headers of the products name and AstroDrizzle
        needs, all of them (which may take more room than the products), or those of some keywords. See
        `hst_cloud.references`. In the flat layout they go into ``references/jref/`` and so on.
    source : {"bucket", "crds"}, optional
        Where reference files are read: the same store, or the server of CRDS.
    store : optional
        Where to read: by default the anonymous public bucket. See `hst_cloud.open`.
    in_flight : int, optional
        Requests at a time, of 8 MiB at most each, which is the memory that the call takes. The process's own bound (64)
        holds as well.
    on_error : {"skip", "raise"}, optional
        What a product does that cannot be downloaded: it has a row that tells why, and is named in one warning at the
        end; or it ends the call.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` of files and bytes, several times a second.

    Returns
    -------
    Table
        One row for each product:

        ``productFilename``, ``obs_id``, ``dataURI``, ``key``
            which product; empty where not known.
        ``etag``, ``size``
            version and bytes of the object.
        ``check``
            what the bytes were compared with beyond length and version, see Notes.
        ``status``
            ``downloaded`` or ``present`` (it was there already): the file is there. Else ``conflict`` (a different file
            has its name), ``corrupt`` (the bytes contradict a checksum; they are kept as ``NAME.corrupt``), ``missing``
            (the bucket does not hold it), ``denied`` (the bucket does not give it), ``exclusive`` or ``not_mirrored``
            (it is known not to be public, or not to be in the bucket), or ``failed``.
        ``path``, ``modified``
            where it is, relative to `folder`, and when it was written (ns since 1970).
        ``reason``
            why the status is what it is, for a person.

        and in ``meta`` what was asked (``criteria``), the ``service`` and ``endpoint``, ``time`` (UTC), ``versions``,
        and the ``requests`` and ``bytes`` that it took. With `references` it has their rows, too, and ``environment``:
        a dict of what ``iref``, ``jref``, ``lref`` and ``oref`` must be set to, for programs to find them.

    Raises
    ------
    QueryError
        An argument makes no sense, or two products would have the same path.
    ProductNameError
        Something cannot name a product, or `manifest` no file.
    FormatError
        The manifest that is given, or what has its name in the folder, is none.
    DiskSpaceError
        The disk has no room, which is looked at before anything is written; or it becomes full nevertheless, after
        which a later call goes on from what has come.
    LocalDiskError
        The folder cannot be written.
    HSTCloudError
        A product cannot be downloaded, and ``on_error`` is ``"raise"``.

    Warns
    -----
    HSTCloudWarning
        Products could not be downloaded, and ``on_error`` is ``"skip"``.

    Notes
    -----
    Requests: one for each 8 MiB of what is not there yet, at least one for each file. One of a byte for each file whose
    size is not known, and for each that exists without being in the manifest. None for a file that the manifest has,
    unless its size or time has changed: that its object was replaced is seen where the product tells its ETag, as rows
    of ``resolve(..., verify=True)`` do.

    Every byte is of one version: that of the product's ETag, or else the one that answers first. If the object is
    replaced meanwhile, what has come is dropped and the file begun anew. Lengths are always compared. Then the first
    check that applies is made: ``md5`` (an object that was uploaded in one piece has it as its ETag), ``crc64nvme`` and
    the like (where S3 has stored a checksum and tells it with the first part, as it does of files of at most 8 MiB),
    ``md5 of parts`` (uploaded in several, where the size of the parts can be guessed), ``FITS checksum`` (where HDUs
    have DATASUM or CHECKSUM); else the check is ``length+etag only``.

    Incomplete files are called ``.NAME.ETAG.part``. After ``kill -9`` no more than the parts that were in flight are
    fetched again; they are compared with sums first, so that a loss of power does no harm either. Two processes may
    download into one folder: of a file that both want, one waits for the other where the system has locks.

    Examples
    --------
    >>> import hst_cloud as hst
    >>> files = hst.products(hst.search("M 51", instrument="ACS/WFC", filters="F814W"), suffix="drc")
    >>> done = hst.download(files, "work")
    >>> for row in done:
    ...     print(row["status"], row["path"], row["check"])
    downloaded jzdm01011_drc.fits md5
    >>> hst.download("work/manifest.ecsv", "work")["status"].tolist()
    ['present']
    """
    if source not in {"bucket", "crds"}:
        message = f"source={source!r} is not known: expected 'bucket' or 'crds'"
        raise QueryError(message)
    how: dict[str, Any] = {"overwrite": overwrite, "manifest": manifest, "in_flight": in_flight}
    how |= {"on_error": on_error, "progress": progress}
    table = _download(products, folder, layout=layout, store=store, **how)
    if references is None:
        return table
    root = Path(folder).expanduser().resolve()
    named = references_of(exposures_of(table), references, store=root, index=False, on_error=on_error)
    there = crds() if source == "crds" else store
    more = _download(named, folder, layout=table.meta["criteria"]["layout"], store=there, **how)
    entries = {entry.identity: entry for entry in entries_of(table) + entries_of(more)}
    places = {entry.key: entry.path for entry in entries.values() if entry.status in DONE}
    meta = {name: table.meta[name] + more.meta[name] for name in ("requests", "bytes")}
    meta |= {"references_from": more.meta["endpoint"], "environment": environment_of(named, places, root)}
    return table_of(list(entries.values()), table.meta | meta)


def _download(
    products: ProductsLike | os.PathLike[str],
    folder: Folder,
    *,
    layout: Layout | None,
    overwrite: bool,
    manifest: str | None,
    store: StoreLike,
    in_flight: int,
    on_error: OnError,
    progress: Watcher | None,
) -> Table:
    as_on_error(on_error)
    if in_flight < 1:
        message = f"in_flight must be at least 1, found {in_flight}"
        raise QueryError(message)
    name = as_manifest_name(manifest)
    wanted, chosen = _wanted(products, layout)
    root, source = Path(folder).expanduser().resolve(), as_store(store)
    book = budget()  # without a limit: it counts what this call takes, and nobody else
    refused = {id(product): error for product in wanted if (error := _refusal(product)) is not None}
    if refused and on_error == "raise":
        raise next(iter(refused.values()))
    paths = targets([p.key for p in wanted if id(p) not in refused], chosen, reserved=[name] if name else [])
    with local(root):
        known = known_files(root, name)
    parents = {(root / path).parent for path in paths.values()}
    trip = Trip(
        folder=root,
        reads=Reads(source),
        manifest=name,
        overwrite=overwrite,
        known=known,
        leftovers={parent: leftovers(parent) for parent in parents},
    )
    transfers = {id(p): Transfer(p, paths[p.key], trip) for p in wanted if id(p) not in refused}
    bring = Bringing(trip, list(transfers.values()), in_flight=in_flight, on_error=on_error, progress=progress)
    with book:
        bring.look()
    check_space(root, bring.need)
    with local(root):
        root.mkdir(parents=True, exist_ok=True)

    def result() -> tuple[list[Entry], dict[str, object]]:
        each = [transfers.get(id(product)) for product in wanted]
        entries = [
            (transfer.entry or transfer.pending()) if transfer else _entry_of(product, refused[id(product)])
            for product, transfer in zip(wanted, each, strict=True)
        ]
        return entries, {
            "criteria": {"layout": chosen, "overwrite": overwrite},
            "service": "GetObject",
            "endpoint": source.address("").rstrip("/"),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"hst_cloud": version("hst-cloud"), "astropy": version("astropy")},
            "requests": book.spent.requests,
            "bytes": book.spent.bytes,
        }

    try:
        with book:
            bring.fetch()
    except BaseException:
        with contextlib.suppress(OSError):  # the disk may be full; the journal has what is complete
            _save(root, name, *result())
        raise
    entries, meta = result()
    with local(root):
        _save(root, name, entries, meta)
    failed = [entry for entry in entries if entry.status not in DONE]
    if failed:
        warnings.warn(_list_of(failed, len(entries), root), HSTCloudWarning, stacklevel=3)
    return table_of(entries, meta)


# --- What is wanted --------------------------------------------------------------------------------------------------


def _wanted(products: ProductsLike | os.PathLike[str], layout: Layout | None) -> tuple[list[Product], Layout]:
    """Return the products, each once, and how they shall lie in the folder."""
    given: Any = products
    if isinstance(given, os.PathLike) or (isinstance(given, str) and _names_manifest(given)):
        with local(Path(given)):
            given = read_manifest(Path(given).expanduser())
    told = None
    if isinstance(given, Table) and is_manifest(given):
        criteria = given.meta.get("criteria")
        told = criteria.get("layout") if isinstance(criteria, dict) else None
        known = products_of(entries_of(given))
    else:
        known = as_products(given)
    unique = {product.key or product.uri or product.filename or product.reason: product for product in reversed(known)}
    return list(reversed(unique.values())), as_layout(layout or told or "flat")


def _names_manifest(text: str) -> bool:
    # HAP's catalogs end like this, too; they are no products of the bucket.
    return text.endswith(".ecsv") and ":" not in text and not Path(text).name.startswith(("hst_", "hlsp_"))


def _refusal(product: Product) -> HSTCloudError | None:
    """Return why a product is not even asked for; None where it is."""
    try:
        placed(product)
    except (NotInCloudError, ProductNameError) as error:
        return error
    if product.status in {"in_cloud", "unverified"}:
        return None
    message = f"{product.filename or product.key} is not in the bucket ({product.status}): {product.reason}"
    return NotInCloudError(message, key=product.key)


def _entry_of(product: Product, error: HSTCloudError) -> Entry:
    outcomes: dict[str, Outcome] = {"exclusive": "exclusive", "missing": "missing", "not_mirrored": "not_mirrored"}
    return Entry(
        productFilename=product.filename,
        obs_id=product.obs_id,
        dataURI=product.uri or "",
        key=product.key,
        size=product.size,
        status=outcomes.get(product.status, "failed"),
        reason=product.reason or str(error),
    )


# --- What is done ----------------------------------------------------------------------------------------------------


def _save(root: Path, name: str | None, entries: Sequence[Entry], meta: Mapping[str, object]) -> None:
    """Force new names to the disk, and write the manifest."""
    for parent in {(root / entry.path).parent for entry in entries if entry.status == "downloaded"}:
        with contextlib.suppress(OSError):  # Windows opens no folders
            fd = os.open(parent, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    if name is not None:
        save(root, name, entries, meta)


def _list_of(failed: Sequence[Entry], total: int, root: Path) -> str:
    """Return the text of a warning that lists what failed."""
    lines = [f"{entry.productFilename or entry.identity}: {entry.status}: {entry.reason}" for entry in failed[:_NAMED]]
    more = f"\n... and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    head = f"{len(failed)} of {total} products are not in {root}:\n"
    return head + "\n".join(lines) + more
