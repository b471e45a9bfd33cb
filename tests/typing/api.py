"""The public API as a type checker sees it; `mypy` reads this file, and nothing runs it.

astropy carries no types, so what is astropy's counts as Any here; what is ours is pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, assert_type

import hst_cloud as hst
from hst_cloud.store.objects import Store
from hst_cloud.testing import Fault, LocalArchive, Request, Script, make_demo_archive, random_faults
from hst_cloud.values import ByteRange, Outcome, Progress, Status


def names_are_products(product: hst.Product, store: Store) -> None:
    assert_type(product.filename, str)
    assert_type(product.uri, str | None)
    assert_type(product.key, str)
    assert_type(product.size, int | None)
    assert_type(product.etag, str | None)
    assert_type(product.status, Status)
    hst.open(product)
    hst.open("jbqf03gjq_flc.fits", store=store, source="mast")
    hst.open("jbqf03gjq_flc.fits", store=Path("/data"), index=False, verify=True)
    hst.open(Path("work", "jbqf03gjq_flc.fits"))
    hst.open("jbqf03gjq_flc.fits", source="ftp")  # type: ignore[arg-type]  # a closed set
    hst.open("jbqf03gjq_flc.fits", store, "mast")  # type: ignore[call-arg]  # keyword only
    product.key = "hst/public/k"  # type: ignore[misc]  # frozen


def a_whole_file(product: hst.Product, store: Store) -> None:
    hst.read(product, store=store, hdus=["SCI", ("DQ", 1), 0], index=True, in_flight=16)
    hst.read("jbqf03gjq_flc.fits", hdus="SCI", verify=True)
    hst.read(product, "SCI")  # type: ignore[call-arg]  # keyword only


def progress_is_a_callable_of_messages(watch: Callable[[Progress], None]) -> None:
    hst.search("M 51", radius="3 arcmin", instrument=["ACS/WFC", "WFC3"], exptime=(100, None), progress=watch)
    hst.products("12345", suffix=["drc", "drz"], calib_level=3, collection=None, progress=watch)
    hst.resolve(["jbqf03gjq", hst.Product(filename="jbqf03gjq_flc.fits")], verify=True, progress=watch)
    hst.search("M 51", "0 deg 0 deg")  # type: ignore[call-arg]  # one position, and the rest by name
    hst.search("M 51", instrumnet="ACS")  # type: ignore[call-arg]  # a typing error is not a criterion


def cost_is_visible(product: hst.Product) -> None:
    estimate = hst.estimate([product], "cutouts", centers=(1, 2), size="5 arcsec")
    assert_type(estimate.requests, int)
    assert_type(estimate.bound, Literal["exactly", "about", "at most"])
    assert_type([path.usd for path in estimate.paths], list[float])
    hst.estimate(product, "peek")  # type: ignore[arg-type]  # a closed set
    with hst.budget(requests=3, bytes="2 GB", usd=1, seconds="10 min") as budget:
        assert_type(budget.spent.bytes, int)
    hst.budget(dollars=1)  # type: ignore[call-arg]  # a misspelled limit is no limit
    assert_type(hst.where().in_region, bool | None)


def downloads_go_into_folders(folder: Path, watch: Callable[[Progress], None]) -> None:
    hst.download(["jbqf03gjq_flc.fits"], folder, layout="nested", overwrite=True, progress=watch)
    hst.download(folder / "manifest.ecsv", "work", manifest=None, on_error="raise")
    hst.download("jbqf03gjq_flc.fits", folder, layout="deep")  # type: ignore[arg-type]  # a closed set
    hst.download("jbqf03gjq_flc.fits")  # type: ignore[call-arg]  # where to?


def relations_epochs_and_references(watch: Callable[[Progress], None]) -> None:
    hst.members("jbevet010", progress=hst.progress_bar("members", patience=0.5))
    hst.members("jbevet010", progress=watch)
    hst.parents(["jbevetdqq", hst.Product(filename="jbqf03gjq_flc.fits")], in_flight=4)
    hst.epochs(hst.search("M 4"), "245.9 -26.5", within="10 day", min_baseline="2 yr")
    hst.pairs(hst.search("HUDF"), radius="10 arcsec")
    hst.references("jbqf03gjq_flc.fits", ["IDCTAB"], on_error="skip")
    hst.download("jbqf03gjq_flc.fits", "work", references="drizzle", source="crds")
    hst.download("jbqf03gjq_flc.fits", "work", references=True)  # type: ignore[arg-type]  # which ones?
    hst.cutout("jbqf03gjq_flc.fits", (10, 10), 5, wcs_key="*-GSC240")


def science_is_short(product: hst.Product) -> None:
    hst.mosaic([product], "0 deg 0 deg", "10 arcsec", scale="0.1 arcsec", wcs_key="A", on_error="skip")
    hst.mosaic([product], "0 deg 0 deg", "10 arcsec", "0.1 arcsec")  # type: ignore[call-arg]  # keyword only
    table = hst.photometry([product], "0 deg 0 deg", "0.2 arcsec", annulus=("1 arcsec", 20))
    assert_type(list(hst.light_curves(table)), list[int])
    hst.coadd(hst.spectra([product]), weights="inverse variance", by=["OPT_ELEM"])
    hst.coadd(hst.spectra([product]), weights="best")  # type: ignore[arg-type]  # a closed set


def errors_carry_facts(error: hst.errors.HSTCloudError) -> None:
    assert_type(error.key, str | None)
    assert_type(error.attempts, int | None)
    assert_type(ByteRange(0, 2880).size, int)


def an_archive_of_my_own(folder: Path) -> None:
    with LocalArchive(make_demo_archive(folder), latency=0.02) as archive:
        assert_type(archive, LocalArchive)
        assert_type(archive.endpoint, str)
        assert_type(archive.requests, list[Request])


def faults_are_values(folder: Path, archive: LocalArchive) -> None:
    assert_type(random_faults(0.1, seed=3), Script)
    assert_type(Script.from_json("[]").faults, tuple[Fault, ...])
    assert_type(archive.faults, Script)
    assert_type(archive.requests[0].fault, Fault | None)
    archive.faults = [Fault(status=503, times=2), Fault(reset="before")]
    archive.faults = folder / "script.json"
    LocalArchive(folder, faults=Fault(headers={"ETag": None}, body=b"x", stall=5, stall_for=0.1))
    Fault(stal=5)  # type: ignore[call-arg]  # a typing error is not a fault
    Fault(reset="after")  # type: ignore[arg-type]  # a number of bytes, or "before"
    Fault(delay=1).delay = 2  # type: ignore[misc]  # frozen


def outcomes_have_the_type_of_the_function(product: hst.Product, watch: Callable[[Progress], None]) -> None:
    def size(product: hst.Product, *, factor: int) -> int:
        return (product.size or 0) * factor

    outcomes = hst.map(
        size, [product], workers=4, manifest=Path("run.jsonl"), on_error="raise", progress=watch, factor=2
    )
    assert_type(outcomes, Iterator[Outcome[int]])
    assert_type(next(outcomes).value, int | None)
    assert_type(next(outcomes).error, Exception | None)
    assert_type(next(outcomes).reason, str)
    hst.map(size, [product], on_error="skip")  # type: ignore[arg-type]  # a closed set
    hst.to_dask(product, ("SCI", 1), rows=100)
