"""Pixels alone: what ``wcs=False`` saves at true size, and that a guess from another file never gives wrong pixels."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_files import Sparse, lengthened
from support import RecordingStore, padded, put

import hst_cloud as hst
from hst_cloud.errors import HSTCloudError, OutsideImageError, QueryError, TruncatedFileError
from hst_cloud.fits.index import Index
from hst_cloud.fits.layout import FIRST, scan
from hst_cloud.fits.predict import SLACK
from hst_cloud.science.cutouts import cutout, cutouts
from hst_cloud.science.cuts import Wanted, cuts, glimpse
from hst_cloud.store.link import FAR_AWAY, IN_REGION
from hst_cloud.store.objects import Piece
from hst_cloud.store.plan import drive
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo.imaging import acs_wfc_flc, acs_wfc_raw, wfc3_ir_flt, wfc3_ir_ima
from hst_cloud.testing.demo.mosaics import acs_wfc_drc
from hst_cloud.values import ByteRange

NAME, SIBLING = "jbqf03gjq_flc.fits", "jbqf03gkq_flc.fits"
CENTER, SIDE = (2049.5, 999.5), 100
ROWS = (940, 1060)
ALONE = {"wcs": False, "uncertainty": False, "mask": False}


def path_of(folder, name):
    return folder / "hst" / "public" / name[:4] / name[:9] / name


def written(folder, name, *, cards=0, shape=(2048, 4096), seed=0):
    """Write an flc of true size, which takes 4 MB of the disk, with pixels in the rows that are cut."""
    content = acs_wfc_flc.to_bytes(rootname=name[:9], scale=64)
    file = Sparse(lengthened(content, cards) if cards else content, shape)
    path = path_of(folder, name)
    file.write(path)
    random = np.random.default_rng(seed)
    with path.open("r+b") as out:
        for hdu in file.hdus:
            if hdu.name in {"SCI", "ERR", "DQ"}:
                row = hdu.shape[1] * abs(hdu.bitpix) // 8
                out.seek(hdu.data.start + ROWS[0] * row)
                values = random.integers(1, 2**15, (min(ROWS[1], hdu.shape[0]) - ROWS[0], hdu.shape[1]))
                out.write(values.astype(">f4" if hdu.bitpix < 0 else ">i2").tobytes())
    return path


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """Return a folder with two flc of 168 MB."""
    folder = tmp_path_factory.mktemp("full")
    for seed, name in enumerate((NAME, SIBLING)):
        assert written(folder, name, seed=seed).stat().st_size > 168e6
    return folder


@pytest.fixture
def store(full_size):
    return RecordingStore(full_size)


def expected(folder, name, hdu=("SCI", 1), center=CENTER, side=SIDE):
    with fits.open(path_of(Path(folder), name)) as local:
        return Cutout2D(local[hdu].data, center, side, mode="partial", fill_value=np.nan).data


def counts(store):
    """Return how many requests each round trip had, and forget them."""
    found = [len(batch) for batch in store.batches]
    store.batches.clear()
    return found


# --- What it costs at true size --------------------------------------------------------------------------------------


def test_headers_and_sections_of_an_unknown_file(full_size):
    """The primary header: 1 GET of at most 66 kB. All headers: at most 8 GETs and 0.8 MB. No HEAD."""
    with LocalArchive(full_size) as archive:
        assert hst.headers(NAME, ["EXPTIME"])["EXPTIME"][0] > 0
        assert len(archive.requests) == 1
        assert archive.requests[0].bytes <= 66_000
        archive.forget()
        with hst.open(NAME) as hdul:
            assert [hdu.header["EXTVER"] for hdu in hdul[1:4]] == [1, 1, 1]
            assert len(archive.requests) <= 8
            assert sum(r.bytes for r in archive.requests) <= 800_000
            box = hdul["SCI", 1].section[950:1050, 2000:2100]
        assert {r.method for r in archive.requests} == {"GET"}
    assert np.array_equal(box, expected(full_size, NAME))


@pytest.mark.parametrize(("hdu", "cold", "like"), [("SCI,1", [1, 1], [5]), ("SCI,2", [1, 5, 1], [8])])
def test_round_trips_of_pixels(hdu, cold, like, store, full_size):
    """Of the first chip two, of the second three, of either one if a file like it was read before.

    Then a guess is made where they lie, on all connections; what is known to lie there is one request.
    """
    cut = cutout(NAME, CENTER, SIDE, hdu=hdu, **ALONE, store=store)
    assert store.batches[0] == [ByteRange(0, FIRST)]
    assert counts(store) == cold
    version = int(hdu[-1])
    assert np.array_equal(cut.data, expected(full_size, NAME, ("SCI", version)))
    assert cut.wcs is None
    assert cut.uncertainty is None
    assert cut.mask is None
    both = cutouts([SIBLING, NAME], CENTER, SIDE, hdu=hdu, **ALONE, store=store, in_flight=1)
    assert counts(store) == [*cold, *like]
    for name, one in zip((SIBLING, NAME), both, strict=True):
        assert np.array_equal(one.data, expected(full_size, name, ("SCI", version)))
    hst.open(SIBLING, store=store).close()
    store.batches.clear()
    again = cutout(NAME, CENTER, SIDE, hdu=hdu, **ALONE, store=store)
    assert max(r.stop for r in store.batches[0]) < 125e6  # nothing behind the second image
    assert counts(store) == like
    assert np.array_equal(again.data, cut.data)
    assert again.meta == cut.meta


@pytest.mark.parametrize("cards", [0, 40, 100])
def test_a_full_frame_of_known_size_is_one_round_trip(cards, tmp_path):
    """Name and size tell the detector, and so where the first image lies, but for some cards; farther off, two."""
    path = written(tmp_path, NAME, cards=cards)
    store = RecordingStore(tmp_path)
    product = hst.Product(filename=NAME, key=str(path.relative_to(tmp_path)), size=path.stat().st_size)
    cut = cutout(product, CENTER, SIDE, **ALONE, store=store)
    assert counts(store) == ([5] if cards < 50 else [5, 1])
    assert np.array_equal(cut.data, expected(tmp_path, NAME))


def test_served_pixels_are_gets_of_their_rows(full_size):
    """Over HTTP: two GETs and no HEAD, of the headers before the image and of the rows of the box."""
    with LocalArchive(full_size) as archive:
        cut = cutout(NAME, CENTER, SIDE, **ALONE)
        assert [r.method for r in archive.requests] == ["GET", "GET"]
        assert [r.bytes for r in archive.requests] == [FIRST, (99 * 4096 + 100) * 4]
    assert np.array_equal(cut.data, expected(full_size, NAME))


WRONG = {
    "a few cards more": {"cards": 30},
    "many cards more": {"cards": 300},
    "half the rows": {"shape": (1024, 4096)},
    "half the columns": {"shape": (2048, 2048)},
    "other rows and cards": {"shape": (1100, 4200), "cards": 100},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_a_wrong_sibling_costs_no_round_trip_more_than_none(wrong, swapped, version, tmp_path):
    """Shapes and header lengths of another file are a guess: pixels are of where the file's own headers say."""
    written(tmp_path, SIBLING, **WRONG[wrong], seed=1)
    written(tmp_path, NAME, seed=2)
    first, second = (NAME, SIBLING) if swapped else (SIBLING, NAME)
    store = RecordingStore(tmp_path)
    hdu = ("SCI", version)
    cold = 0
    for name in (first, second):
        cutout(name, CENTER, SIDE, hdu=hdu, **ALONE, store=store)
        cold += len(counts(store))
    ours = cutouts([first, second], CENTER, SIDE, hdu=hdu, **ALONE, store=store, in_flight=1)
    assert len(counts(store)) <= cold
    for name, cut in zip((first, second), ours, strict=True):
        assert np.array_equal(cut.data, expected(tmp_path, name, hdu), equal_nan=True)
        assert (cut.data[:40, :40] > 0).all()


def test_what_the_index_knows_is_one_round_trip(store, full_size, tmp_path):
    """Pixels of one image: one GET, by a section or a cutout; with errors and flags: three, at once."""
    with Index(tmp_path / "index") as index:
        hst.open(NAME, store=store, index=index).close()
        store.batches.clear()
        span = (99 * 4096 + 100) * 4
        cut = cutout(NAME, CENTER, SIDE, **ALONE, store=store, index=index)
        assert [[r.size for r in batch] for batch in store.batches] == [[span]]
        assert np.array_equal(cut.data, expected(full_size, NAME))
        store.batches.clear()
        with hst.open(NAME, store=store, index=index) as hdul:
            box = hdul["SCI", 1].section[950:1050, 2000:2100]
        assert [[r.size for r in batch] for batch in store.batches] == [[span]]
        assert np.array_equal(box, cut.data)
        store.batches.clear()
        cut = cutout(NAME, CENTER, SIDE, hdu="SCI,2", store=store, index=index)
        assert [[r.size for r in batch] for batch in store.batches] == [[span, span, span // 2]]
        for plane, name in ((cut.data, "SCI"), (cut.uncertainty.array, "ERR"), (cut.flags, "DQ")):
            assert np.array_equal(plane, expected(full_size, NAME, (name, 2)))


def test_what_the_index_knows_is_served_without_a_head(full_size, tmp_path):
    """The same over HTTP, and nothing else is asked for."""
    with LocalArchive(full_size) as archive, Index(tmp_path / "index") as index:
        hst.open(NAME, index=index).close()
        archive.forget()
        cutout(NAME, CENTER, SIDE, **ALONE, index=index)
        assert len(archive.requests) == 1
        with hst.open(NAME, index=index) as hdul:
            hdul["SCI", 1].section[950:1050, 2000:2100]
        assert len(archive.requests) == 2
        cutout(NAME, CENTER, SIDE, index=index)
        assert len(archive.requests) == 5
        assert {r.method for r in archive.requests} == {"GET"}
        assert {r.status for r in archive.requests} == {206}


def test_a_glimpse_is_not_kept(store, tmp_path):
    """The index takes whole layouts alone: after pixels alone, opening still finds every HDU."""
    with Index(tmp_path / "index") as index:
        cutout(NAME, CENTER, SIDE, **ALONE, store=store, index=index)
        assert index.get(store, f"hst/public/jbqf/jbqf03gjq/{NAME}") is None
        with hst.open(NAME, store=store, index=index) as hdul:
            assert len(hdul) == 20


def test_far_away_rows_are_cheaper_than_a_span(store, full_size, monkeypatch):
    """Fifty rows of 400 bytes are one request where bytes are cheap, and one each where a sixth of a second is more."""
    box = {"center": CENTER, "size": (50, 100)}
    rows = [ByteRange(n * 16384, n * 16384 + 400) for n in range(50)]
    span = [ByteRange(0, rows[-1].stop)]
    for before in ([], [FIRST]):
        for name, link, requests in (("region", IN_REGION, span), ("far", FAR_AWAY, rows)):
            assert link.seconds(requests) == min(link.seconds(span), link.seconds(rows))
            monkeypatch.setenv("HST_CLOUD_LINK", name)
            cut = cutout(NAME, **box, **ALONE, store=store)
            asked = store.batches[-1][len(before) :]
            if before:  # a guess, on several connections
                assert asked[-1].stop - asked[0].start <= span[0].size + 2 * SLACK
                assert link.seconds(asked) <= link.seconds(requests)
            else:
                assert [r.size for r in asked] == [r.size for r in requests]
            assert np.array_equal(cut.data, expected(full_size, NAME, side=(50, 100)))
        hst.open(SIBLING, store=store).close()


# --- Every kind of image ---------------------------------------------------------------------------------------------

KINDS = {
    "drizzled": ("jbeveo010_drc.fits", acs_wfc_drc, 16, ["SCI", "WHT"]),
    "raw": ("jbqf03gkq_raw.fits", acs_wfc_raw, 16, [("SCI", 1), ("SCI", 2), ("ERR", 1), ("DQ", 2)]),
    "ramp": ("iczgs3yhq_ima.fits", wfc3_ir_ima, 16, [("SCI", 2), "SAMP", ("TIME", 3), ("DQ", 4)]),
    "infrared": ("iczgs3ygq_flt.fits", wfc3_ir_flt, 2, [1, "ERR", "DQ"]),
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Return a folder with a file of every kind, and two of each so that one has a sibling."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, build, scale, _ in KINDS.values():
        put(folder, name, build(rootname=name[:9], scale=scale))
    return folder


def by_full_path(center, side, **more):
    """Cut with the whole walk: an angle needs a solution, so that the pixels are not alone; here, errors are wanted."""
    return cutout(center=center, size=side, wcs=False, uncertainty=True, mask=False, **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center", [(40.2, 21.8), (-2.0, 3.0), (0.0, 0.0)])
def test_every_kind_of_image_is_that_of_the_whole_walk(kind, center, kinds):
    """Drizzled, constant, scaled and integer images, within and across the edge: data, type and meta are the same."""
    name, _, _, hdus = KINDS[kind]
    store = RecordingStore(kinds)
    for hdu in hdus:
        for _ in range(2):  # alone, and with a sibling
            ours = cutout(name, center, (9, 14), hdu=hdu, **ALONE, store=store)
            full = by_full_path(center, (9, 14), product=name, hdu=hdu, store=store)
            assert isinstance(ours, CCDData)
            assert ours.data.dtype == full.data.dtype
            assert ours.data.dtype.isnative
            assert np.array_equal(ours.data, full.data, equal_nan=ours.data.dtype.kind == "f")
            assert ours.meta == {
                name: None if isinstance(full.meta[name], fits.card.Undefined) else full.meta[name]
                for name in dict.fromkeys(full.meta)
                if name
            }
            assert ours.unit == full.unit


def test_several_centers_are_read_at_once(store, full_size):
    """Boxes of one image come in one batch, with and without a sibling, and those without overlap fail by themselves."""
    centers = [CENTER, (100, 950), (9000, 9000), (4090, 1000)]
    for trips in (2, 1):
        with pytest.warns(hst.errors.HSTCloudWarning, match="1 cutout was skipped"):
            found = cutouts(NAME, centers, SIDE, **ALONE, store=store, on_error="skip")
        assert len(counts(store)) == trips
        inside = [center for center in centers if center[0] < 4096]
        assert [cut.meta["CUTX0"] for cut in found] == [2000, 50, 4040]
        for center, cut in zip(inside, found, strict=True):
            assert np.array_equal(cut.data, expected(full_size, NAME, center=center), equal_nan=True)
        hst.open(SIBLING, store=store).close()
        store.batches.clear()


def test_what_lies_outside_is_said_before_a_pixel_is_read(store):
    """No overlap costs the headers before the image, and no pixel of a sibling's place."""
    for _ in range(2):
        with pytest.raises(OutsideImageError, match=r"SCI,1, whose shape is \(2048, 4096\)"):
            cutout(NAME, (9000, 9000), SIDE, **ALONE, store=store)
        assert store.batches == [[ByteRange(0, FIRST)]]
        hst.open(SIBLING, store=store).close()
        store.batches.clear()


@pytest.mark.parametrize("hdu", ["SCI,3", 99, "NONE"])
def test_an_image_that_is_not_there_is_said_by_what_is(hdu, store):
    """All headers are walked for it, and the message lists them."""
    with pytest.raises(QueryError, match=r"is not there in .*: it holds PRIMARY,1, SCI,1, .*HDRLET"):
        cutout(NAME, CENTER, SIDE, hdu=hdu, **ALONE, store=store)
    with pytest.raises(QueryError, match="hdu='HDRLET' is no two-dimensional image"):
        cutout(NAME, CENTER, SIDE, hdu="HDRLET", **ALONE, store=store)


def test_an_image_without_pixels_is_passed_over(tmp_path):
    """Whether or not the sky is wanted, and whether or not a file like it was read before."""
    image = np.arange(12, dtype="f4").reshape(3, 4)
    content = [fits.PrimaryHDU(), fits.ImageHDU(image[:0], name="SCI"), fits.ImageHDU(image, name="SCI", ver=2)]
    for name in (NAME, SIBLING):
        put(tmp_path, name, fits.HDUList(content))
    for options in (ALONE, {}):
        for cut in cutouts([NAME, SIBLING], (1, 1), 2, **options, store=tmp_path, in_flight=1):
            assert np.array_equal(cut.data, image[:2, :2])
    with pytest.raises(QueryError, match="hdu='SCI,1' is no two-dimensional image"):
        cutout(NAME, (1, 1), 2, hdu="SCI,1", **ALONE, store=tmp_path)


def test_a_truncated_file_gives_the_pixels_that_it_has(tmp_path):
    """Rows before the end are read, with a sibling that is whole or without; rows behind it raise."""
    written(tmp_path, SIBLING)
    path = written(tmp_path, NAME)
    with path.open("r+b") as file:
        file.truncate(20_000_000)
    store = RecordingStore(tmp_path)
    for _ in range(2):
        cut = cutout(NAME, CENTER, SIDE, **ALONE, store=store)
        assert np.array_equal(cut.data, expected(tmp_path, SIBLING))
        with pytest.raises(TruncatedFileError, match="ends after 20000000 bytes"):
            cutout(NAME, (2000, 1500), SIDE, **ALONE, store=store)
        with pytest.raises(QueryError, match="hdu='SCI,2' is not there"):
            cutout(NAME, CENTER, SIDE, hdu="SCI,2", **ALONE, store=store)
        hst.open(SIBLING, store=store).close()


def test_pixels_are_alone_only_where_nothing_else_is_wanted():
    """A place on the sky, an angle, errors, flags or a solution need headers behind the image's."""
    alone = wanted()
    assert alone.pixels_alone
    for more in ("wcs", "uncertainty", "mask"):
        assert not replace(alone, **{more: True}).pixels_alone
    assert not replace(alone, centers=(SkyCoord(1, 2, unit="deg"),)).pixels_alone
    assert not replace(alone, centers=((1.0, 2.0), SkyCoord(1, 2, unit="deg"))).pixels_alone
    assert not replace(alone, size=(3 * u.arcsec, 4)).pixels_alone


# --- Whatever the layouts --------------------------------------------------------------------------------------------


def wanted(centers=((5.0, 5.0),), size=(4, 4), hdu="SCI"):
    return Wanted(
        centers=tuple(centers), size=size, hdu=hdu, good_bits=None, uncertainty=False, mask=False, weight="exposure",
        wcs=False, link=IN_REGION, files=1,
    )  # fmt: skip


PLACE = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flt.fits"


@st.composite
def images(draw, like=None):
    """Make what a file is of: cards, name and shape of each HDU; or one like another, but for what is drawn."""
    if like is not None:
        changed = list(like)
        at = draw(st.integers(0, len(like) - 1))
        cards, name, shape = changed[at]
        changed[at] = draw(
            st.sampled_from([(cards + 40, name, shape), (cards + 400, name, shape), (max(0, cards - 40), name, shape)])
            if not shape
            else st.sampled_from(
                [(cards + 40, name, shape), (cards, name, (shape[0] + 9, shape[1])), (cards, "ERR", shape)]
            )
        )
        return changed
    names = st.sampled_from(["SCI", "ERR", "DQ"])
    shapes = st.sampled_from([(), (20, 30), (200, 300), (300, 200), (900, 17)])
    return [
        (draw(st.integers(0, 200)), "PRIMARY", ()),
        *draw(st.lists(st.tuples(st.integers(0, 200), names, shapes), min_size=1, max_size=5)),
    ]


def content_of(hdus, dtype):
    made, versions = [], {}
    for number, (cards, name, shape) in enumerate(hdus):
        if number == 0:
            made.append(fits.PrimaryHDU(header=padded(cards)))
            continue
        versions[name] = versions.get(name, 0) + 1
        data = np.arange(np.prod(shape)).reshape(shape).astype(dtype) + number if shape else None
        made.append(fits.ImageHDU(data, padded(cards), name=name, ver=versions[name]))
    out = io.BytesIO()
    fits.HDUList(made).writeto(out)
    return out.getvalue()


def driven(content, plans):
    """Drive one plan, and the next with its result; return the results, and all that was asked for."""
    asked, result = [], None

    def carry(ranges):
        asked.extend(ranges)
        return [Piece(content[r.start : r.stop], len(content), "e") for r in ranges]

    for plan in plans:
        result = drive(plan(result), carry)
    return result, asked


@settings(max_examples=150)
@given(st.data())
def test_a_glimpse_gives_the_pixels_of_the_whole_walk(data):
    """Any file, with no sibling, itself, or another one: the same pixels or the same error, and no byte twice."""
    hdus = data.draw(images())
    content = content_of(hdus, data.draw(st.sampled_from(["i2", "u2", "f4"])))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(2880, len(content)))]
    other = data.draw(st.sampled_from([None, hdus]) | images(hdus) | images())
    like = None
    if other is not None:
        like = driven(content_of(other, "f4"), [lambda _: scan(PLACE)])[0].layout
    center = st.tuples(st.floats(-10, 320), st.floats(-10, 320))
    ask = wanted(
        data.draw(st.lists(center, min_size=1, max_size=3)),
        data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60))),
        data.draw(st.sampled_from(["SCI", ("SCI", 2), 1, 2, "ERR", "DQ,1"])),
    )
    size = data.draw(st.sampled_from([None, len(content)]))

    def outcomes(walk):
        try:
            found, asked = driven(content, [walk, lambda found: cuts(found, ask, "there")])
        except HSTCloudError as error:
            return [repr(type(error))], []
        return [
            repr(type(one)) if isinstance(one, HSTCloudError) else (one.chip.number, one.window, one.planes["SCI"])
            for one in found
        ], asked

    ours, asked = outcomes(lambda _: glimpse(PLACE, ask, size=size, like=like))
    theirs, _ = outcomes(lambda _: scan(PLACE))
    assert len(ours) == len(theirs)
    for mine, full in zip(ours, theirs, strict=True):
        assert type(mine) is type(full)
        if isinstance(mine, str):
            assert mine == full
        else:
            assert mine[:2] == full[:2]
            assert mine[2].dtype == full[2].dtype
            assert np.array_equal(mine[2], full[2])
    once = sorted(asked)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(once))
