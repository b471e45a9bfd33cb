"""What calls are said to take, against what they took: every verb, on every kind of file."""

from __future__ import annotations

import contextlib
import warnings

import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from sparse_files import Sparse
from support import SHARED_DATA

import hst_cloud as hst
from hst_cloud.cost.prices import PATHS
from hst_cloud.errors import OutsideImageError, QueryError
from hst_cloud.fits.predict import siblings
from hst_cloud.testing import LocalArchive, make_demo_archive
from hst_cloud.testing.demo.imaging import acs_wfc_flc, wfc3_ir_ima, wfc3_uvis_flc
from hst_cloud.testing.demo.mosaics import acs_wfc_drc

FULL = {
    "jbqf03gjq_flc.fits": (acs_wfc_flc, (2048, 4096)),
    "idkl01g3q_flc.fits": (wfc3_uvis_flc, (2051, 4096)),
    "icqtbbbxq_ima.fits": (wfc3_ir_ima, (1024, 1024)),
    "jcdm01011_drc.fits": (acs_wfc_drc, (4400, 4300)),
}
"""Exposures and a mosaic of true size, of which only the headers take room on the disk."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_demo_archive(tmp_path_factory.mktemp("archive"), scale=8)
    for name, (made, shape) in FULL.items():
        content = made.to_bytes(rootname=name[:9], scale=64)
        Sparse(content, shape=shape).write(folder / "hst/public" / name[:4] / name[:9] / name)
    return folder


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as archive:
        siblings.cache_clear()
        yield archive


def products(folder, pattern="*"):
    """Return the files of the folder with their sizes, as a listing would tell them."""
    return [
        hst.Product(filename=path.name, key=path.relative_to(folder).as_posix(), size=path.stat().st_size)
        for path in sorted(folder.glob(f"hst/public/*/*/*_{pattern}.fits"))
    ]


def took(archive, call):
    """Return the requests and bytes that a call took, as the server saw it."""
    archive.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
    return len(archive.requests), sum(request.bytes for request in archive.requests)


def within(estimate, true):
    """Tell whether the truth lies where the estimate says."""
    if estimate.bound == "exactly":
        return (estimate.requests, estimate.bytes) == true
    if estimate.bound == "about":
        return true[0] == pytest.approx(estimate.requests, rel=0.05) and true[1] == pytest.approx(
            estimate.bytes, rel=0.05
        )
    return true[0] <= estimate.requests and true[1] <= estimate.bytes


# --- Every verb ------------------------------------------------------------------------------------------------------


def test_a_download_is_each_byte_once(folder, archive, tmp_path):
    """Requests and bytes as told, whole files in parts of 8 MiB."""
    files = [product for product in products(folder) if product.filename not in FULL]
    files += [product for product in products(folder) if product.filename in FULL and product.size < 1e8]
    estimate = hst.estimate(files)
    assert estimate.bound == "exactly"
    assert (estimate.products, estimate.unknown) == (len(files), 0)
    assert within(estimate, took(archive, lambda: hst.download(files, tmp_path)))
    assert hst.estimate(products(folder)).bytes == sum(product.size for product in products(folder))


def test_reading_whole_files_takes_no_more_than_is_told(folder, archive):
    """Small files exactly; of large ones every byte but those between HDUs."""
    for product in products(folder):
        if product.size < 1e8:
            siblings.cache_clear()
            estimate = hst.estimate(product, "read")
            true = took(archive, lambda product=product: hst.read(product, index=False))
            assert within(estimate, true), (product, estimate, true)
            assert true[1] >= 0.9 * estimate.bytes


def test_opening_takes_no_more_than_is_told(folder, archive):
    """Of every kind of file by itself, without siblings; small ones exactly."""
    exact = 0
    for product in products(folder):
        siblings.cache_clear()
        estimate = hst.estimate(product, "open")
        true = took(archive, lambda product=product: hst.open(product).close())
        assert within(estimate, true), (product, estimate, true)
        exact += estimate.bound == "exactly"
    assert exact > 20


def test_opening_without_a_size_takes_no_more_than_is_told(folder, archive):
    """A name alone is enough for a bound."""
    for product in products(folder):
        siblings.cache_clear()
        named = hst.Product(filename=product.filename, key=product.key)
        estimate = hst.estimate(named, "open")
        true = took(archive, lambda named=named: hst.open(named).close())
        assert estimate.bound == "at most"
        assert within(estimate, true), (product, estimate, true)


def test_headers_take_what_is_told(folder, archive):
    """Primary headers within 5 percent, of all files together; those of extensions no more."""
    files = products(folder)
    estimate = hst.estimate(files, "headers")
    assert estimate.bound == "about"
    # One at a time: on a busy machine many are asked for before the first of their kind is known, which takes more bytes.
    assert within(estimate, took(archive, lambda: hst.headers(files, ["ROOTNAME"], in_flight=1, on_error="skip")))
    twice = hst.estimate([*files, *files], "headers")
    assert (twice.requests, twice.bytes) == (estimate.requests, estimate.bytes)
    for pattern in ("flc", "drc", "x1d", "raw", "ima", "corrtag_a"):
        some = products(folder, pattern)
        estimate = hst.estimate(some, "headers", hdu=1)
        true = took(archive, lambda some=some: hst.headers(some, ["1.EXTNAME"], on_error="skip"))
        assert within(estimate, true), (pattern, estimate, true)


@pytest.mark.parametrize(
    ("size", "count"), [(1, 1), (50, 3), (2000, 1), ("1 arcsec", 2), (("10 arcsec", "30 arcsec"), 1)]
)
def test_cutouts_never_take_more_than_is_told(folder, archive, size, count):
    """By pixels and on the sky, of files of true size and one small one of each kind, for one position or several."""
    kinds = {}
    for product in products(folder, "*"):
        suffix = product.filename[10:-5]
        if suffix in {"flc", "flt", "drz", "drc", "raw", "ima"}:
            kinds[product.filename if product.filename in FULL else product.filename[0] + suffix] = product
    assert len(kinds) > 12
    for product in kinds.values():
        with fits.open(folder / product.key) as hdul, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows, columns = hdul["SCI", 1].shape
            centers = [(columns * (n + 1) / (count + 1), rows * (n + 1) / (count + 2)) for n in range(count)]
            if isinstance(size, tuple):
                sky = WCS(hdul["SCI", 1].header, hdul)
                centers = [sky.pixel_to_world(*center) for center in centers]
                if not all(isinstance(center, SkyCoord) for center in centers):
                    continue
        siblings.cache_clear()
        true = took(archive, lambda: hst.cutouts(product, centers, size, on_error="skip"))  # noqa: B023
        assert true[0] > 0
        for known in (product, hst.Product(filename=product.filename, key=product.key)):
            estimate = hst.estimate(known, "cutouts", centers=centers, size=size)
            assert estimate.bound == "at most"
            assert within(estimate, true), (known, estimate, true)


def test_cutouts_of_true_files_are_told_usefully(folder, archive):
    """A bound that is as large as the file would help nobody: it stays within what is read some times."""
    for product in products(folder):
        if product.filename in FULL:
            estimate = hst.estimate(product, "cutouts", centers=(900, 900), size=200)
            true = took(archive, lambda product=product: hst.cutout(product, (900, 900), 200))
            assert true[1] <= estimate.bytes < 9 * true[1]
            assert estimate.bytes < product.size / 2


@pytest.mark.parametrize("size", ["2 arcsec", ("20 arcsec", "60 arcsec"), "200 arcsec"])
def test_mosaics_never_take_more_than_is_told(folder, archive, size):
    """Of each kind of exposure and combined image, at the gap between its chips if it has two."""
    pytest.importorskip("reproject")
    kinds = {product.filename[0] + product.filename[10:-5]: product for product in products(folder, "*")}
    for kind, product in kinds.items():
        if kind[1:] not in {"flc", "flt", "drz", "drc"} or kind[0] not in "ij" or product.filename in FULL:
            continue
        with fits.open(folder / product.key) as hdul, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            center = WCS(hdul["SCI", 1].header, hdul).pixel_to_world(100, hdul["SCI", 1].shape[0] - 2)
        siblings.cache_clear()

        def call(product=product, center=center):
            with contextlib.suppress(OutsideImageError):  # of few pixels all may be bad
                hst.mosaic(product, center, size, scale="1 arcsec")

        true = took(archive, call)
        estimate = hst.estimate(product, "mosaic", centers=center, size=size)
        assert estimate.bound == "at most"
        assert within(estimate, true), (product, estimate, true)


def test_spectra_take_what_is_told(folder, archive):
    """Of files of at most 8 MiB: one request, all of it."""
    pytest.importorskip("specutils")
    files = [*products(folder, "x1d"), *products(folder, "x1dsum"), *products(folder, "sx1")]
    estimate = hst.estimate(files, "spectra")
    assert estimate.bound == "exactly"
    assert within(estimate, took(archive, lambda: hst.spectra(files)))


@pytest.mark.parametrize("verb", ["tables", "columns"])
def test_tables_take_no_more_than_is_told(folder, archive, verb):
    """Small files exactly; of large ones at most every byte."""
    read = {"tables": hst.tables, "columns": hst.columns}[verb]
    for pattern in ("x1d", "corrtag_a", "rawtag_a", "asn", "jit", "a1f"):
        files = products(folder, pattern)
        estimate = hst.estimate(files, verb)
        if pattern == "a1f" and verb == "columns":
            continue
        assert files
        assert within(estimate, took(archive, lambda files=files: list(read(files)))), (pattern, estimate)
        some = took(archive, lambda files=files: list(read(files, rows=slice(3))))
        assert some[1] <= estimate.bytes


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the folder with real files is not there")
def test_real_files_take_no_more_than_is_told(tmp_path):
    """Real structures, with their headerlets and ramps."""
    kept = []
    for path in sorted((SHARED_DATA / "fits" / "hst").rglob("*.fits")):
        name = path.name
        if len(name.partition("_")[0]) == 9 and name[9] == "_":
            target = tmp_path / "hst/public" / name[:4] / name[:9] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(path)
                kept.append(hst.Product(filename=name, key=target.relative_to(tmp_path).as_posix()))
    assert len(kept) > 10
    with LocalArchive(tmp_path) as archive:
        for product in kept:
            siblings.cache_clear()
            estimate = hst.estimate(product, "open")
            try:
                true = took(archive, lambda product=product: hst.open(product).close())
            except hst.errors.HSTCloudError:
                continue
            assert within(estimate, true), (product, estimate, true)


# --- What is told ----------------------------------------------------------------------------------------------------


def test_what_is_not_known_is_told():
    """A product without place or size is counted as such, and never as nothing."""
    files = ["jbqf03gjq_flc.fits", hst.Product(filename="a.fits", key="a.fits", size=10), "u4ge0106j_jit.fits"]
    estimate = hst.estimate([*files, "JBQF03GJQ"])
    assert (estimate.products, estimate.unknown, estimate.bytes) == (1, 3, 10)
    assert "not counted: 3 whose place or size is not known" in str(estimate)
    assert repr(estimate) == "Estimate(download of 1: exactly 1 request, 10 bytes; 3 unknown)"
    assert hst.estimate([]).requests == 0


def test_paths_have_seconds_and_dollars(monkeypatch):
    """S3's bill is the owner's; a gateway, where there may be one, is the reader's; farther is slower."""
    files = hst.Product(filename="jbqf03gjq_flc.fits", key="hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits", size=10**9)
    estimate = hst.estimate(files)
    assert [path.path for path in estimate.paths] == list(PATHS)
    seconds = [path.seconds for path in estimate.paths]
    assert seconds == sorted(seconds)
    assert 1 < seconds[0] < 2  # 1 GB over a link of 1 GB/s
    assert 25 < seconds[2] < 27  # of 40 MB/s
    assert [path.usd for path in estimate.paths] == [0, 0, 0]
    assert [path.usd_most for path in estimate.paths] == pytest.approx([0.045, 0.045, 0])
    requests = estimate.requests * 0.0004 / 1000
    assert [path.usd_owner for path in estimate.paths] == pytest.approx([requests, 0.02 + requests, 0.09 + requests])
    monkeypatch.setenv("HST_CLOUD_NAT", "no")
    assert [path.usd_most for path in hst.estimate(files).paths] == [0, 0, 0]
    text = str(estimate)
    assert text.splitlines()[0] == "download of 1 product: exactly 120 requests, 1 GB (1,000,000,000)"
    assert "in region" in text
    assert "USD 0.045" in text
    assert "prices of 2026-11-25" in text


def test_the_worked_example_holds():
    """A million primary headers: 32.8 GB, which a gateway makes 1.47 dollars and nothing else makes anything."""
    one = hst.estimate("jbqf03gjq_flc.fits", "headers")
    assert one.bytes * 10**6 * 0.045 / 10**9 == pytest.approx(1.4746, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"verb": "peek"}, "verb='peek' is none.*expected one of download, read"),
        ({"verb": "cutouts"}, "verb='cutouts' needs centers= and size="),
        ({"verb": "mosaic", "centers": (1, 2)}, "verb='mosaic' needs centers= and size="),
        ({"verb": "cutouts", "centers": (1, 2)}, "needs centers= and size="),
        ({"verb": "cutouts", "centers": (1, 2), "size": "3 kg"}, "size='3 kg'"),
        ({"verb": "headers", "hdu": -1}, "hdu=-1"),
    ],
)
def test_nonsense_is_refused(arguments, text):
    """As the verbs themselves would."""
    with pytest.raises(QueryError, match=text):
        hst.estimate("jbqf03gjq_flc.fits", **arguments)


@given(
    st.sampled_from(["jbqf03gjq_flc.fits", "icdm01010_drz.fits", "ibxy07p9q_ima.fits", "odbue5030_x1d.fits", "x.fits"]),
    st.one_of(st.none(), st.integers(1, 2**40)),
    st.sampled_from(["download", "open", "headers", "spectra", "tables"]),
)
def test_no_estimate_is_more_than_all_of_the_file(name, size, verb):
    """Nothing is read twice, and nothing is negative."""
    estimate = hst.estimate(hst.Product(filename=name, key=f"hst/public/{name}", size=size), verb)
    assert estimate.requests >= 0
    assert estimate.bytes >= 0
    if size is not None:
        assert estimate.bytes <= size
        assert estimate.unknown == 0
    assert all(path.seconds >= 0 for path in estimate.paths)
