"""Keywords of many files as one table: what it holds, what types it has, and exactly what is read for it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from support import RecordingStore, adapted, put

from hst_cloud.errors import (
    FormatError,
    HSTCloudWarning,
    NotInCloudError,
    ObjectNotFoundError,
    ProductNameError,
    QueryError,
    TruncatedFileError,
)
from hst_cloud.science.headers import headers
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo import imaging
from hst_cloud.values import Product

NAMES = ["jabc01aaq_flc.fits", "jabc01abq_flc.fits", "jabc01acq_flc.fits"]


def written(folder, name, cards, *extensions):
    """Write a file with these primary cards, and return its name."""
    primary = fits.PrimaryHDU()
    for keyword, value in cards.items():
        primary.header[keyword] = value
    put(folder, name, fits.HDUList([primary, *extensions]))
    return name


def science(ver, cards=(), *, size=10, name="SCI"):
    return fits.ImageHDU(np.zeros((size, size), "f4"), fits.Header(cards), name=name, ver=ver)


@pytest.fixture
def folder(tmp_path):
    """Hold three files with one extension each."""
    for i, name in enumerate(NAMES):
        cards = {"EXPTIME": 100.0 * i, "TARGNAME": "M" * (i + 1), "NRPTEXP": i, "SUBARRAY": i == 1}
        written(tmp_path, name, cards, science(1, {"PHOTFLAM": 1e-19 * i}))
    return tmp_path


def values(table, name):
    """Return a column as Python's values, None where masked."""
    return table[name].tolist()


# --- What the table holds --------------------------------------------------------------------------------------------


def test_one_row_each_in_the_order_given(folder):
    """Rows are in the order of the products, columns in that of the keywords, with the types of the values."""
    table = headers(NAMES[::-1], ["TARGNAME", "exptime", "NRPTEXP", "SUBARRAY", "1.PHOTFLAM"], store=folder)
    assert type(table) is Table
    assert table.colnames == ["productFilename", "TARGNAME", "exptime", "NRPTEXP", "SUBARRAY", "1.PHOTFLAM"]
    assert values(table, "productFilename") == NAMES[::-1]
    assert values(table, "TARGNAME") == ["MMM", "MM", "M"]
    assert values(table, "exptime") == [200.0, 100.0, 0.0]
    assert values(table, "1.PHOTFLAM") == [2e-19, 1e-19, 0.0]
    kinds = [table[name].dtype.kind for name in table.colnames]
    assert kinds == ["U", "U", "f", "i", "b", "f"]


def test_all_keywords_equal_astropy(folder):
    """Without keywords, all of the HDU are there, in order, with the values that astropy reads."""
    table = headers(NAMES, store=folder)
    expected = fits.getheader(folder / "hst/public/jabc/jabc01abq" / NAMES[1])
    assert table.colnames == ["productFilename", *expected]
    assert {name: values(table, name)[1] for name in expected} == dict(expected)


def test_stars_bring_whole_headers(folder):
    """A star is all keywords of its HDU; what is named stands before what stars bring."""
    table = headers(NAMES, ["1.PHOTFLAM", "*", "SCI,1.*"], store=folder)
    paths = [folder / "hst/public/jabc" / name[:9] / name for name in NAMES]
    first, second = fits.getheader(paths[2], 0), fits.getheader(paths[2], 1)
    assert table.colnames == ["productFilename", "1.PHOTFLAM", *first, *(f"SCI,1.{name}" for name in second)]
    assert {name: values(table, f"SCI,1.{name}")[2] for name in second} == dict(second)


def test_what_is_missing_is_masked(tmp_path):
    """A keyword that is not there, one without a value, and one of an extension that is not there are masked."""
    written(tmp_path, NAMES[0], {"EXPTIME": 1.0, "FLSHFILE": None}, science(1, {"PHOTFLAM": 1.5}))
    written(tmp_path, NAMES[1], {"FLSHFILE": "a.fits"}, science(1), science(2, {"PHOTFLAM": 2.5}))
    table = headers(NAMES[:2], ["EXPTIME", "FLSHFILE", "SCI,2.PHOTFLAM", "NOBODY"], store=tmp_path)
    assert values(table, "EXPTIME") == [1.0, None]
    assert values(table, "FLSHFILE") == [None, "a.fits"]
    assert values(table, "SCI,2.PHOTFLAM") == [None, 2.5]
    assert values(table, "NOBODY") == [None, None]
    assert table["EXPTIME"].dtype == np.float64
    assert table["NOBODY"].dtype.kind == "U"


@pytest.mark.parametrize(
    ("given", "expected", "kind"),
    [
        ([1, 2], [1, 2], "i"),
        ([1, 2.5], [1.0, 2.5], "f"),
        ([1, 2j], [1, 2j], "c"),
        ([True, False], [True, False], "b"),
        ([True, 1], ["T", "1"], "U"),
        (["a", 1.5], ["a", "1.5"], "U"),
        ([2**63, 1], [str(2**63), "1"], "U"),
        (["", "a "], ["", "a"], "U"),
    ],
)
def test_a_column_has_the_type_that_its_values_have_in_common(given, expected, kind, tmp_path):
    """Numbers become the wider kind; what has no kind in common becomes text."""
    for name, value in zip(NAMES, given, strict=False):
        written(tmp_path, name, {"KEY": value})
    table = headers(NAMES[:2], "KEY", store=tmp_path)
    assert values(table, "KEY") == expected
    assert table["KEY"].dtype.kind == kind


def test_cards_beyond_the_simple_ones(tmp_path):
    """Long strings, HIERARCH, record-valued and commentary cards have astropy's values."""
    cards = {"LONG": "word " * 30 + "end", "HIERARCH ESO LAMP": 5, "HISTORY": "x" * 100, "CPLX": 1 + 2j}
    extension = science(1)
    extension.header.append(("DP1", "EXTVER: 3"))
    written(tmp_path, NAMES[0], cards, extension)
    names = ["LONG", "ESO LAMP", "HISTORY", "CPLX", "SCI,1.DP1.EXTVER"]
    table = headers(NAMES[0], names, store=tmp_path)
    assert [values(table, name)[0] for name in names] == [
        cards["LONG"], 5, "x" * 72 + "\n" + "x" * 28, 1 + 2j, 3.0,
    ]  # fmt: skip
    assert values(headers(NAMES[0], "dp1.EXTVER", hdu="SCI", store=tmp_path), "dp1.EXTVER") == [3.0]


@pytest.mark.parametrize("hdu", [2, "2", "sci,2", ("SCI", 2), "SCI, 2"])
def test_an_hdu_has_many_names(hdu, tmp_path):
    """The HDU of keywords without one, as a position or a name."""
    written(tmp_path, NAMES[0], {}, science(1, {"KEY": 1}), science(2, {"KEY": 2}))
    assert values(headers(NAMES[:1], ["KEY", "SCI.KEY"], hdu=hdu, store=tmp_path), "KEY") == [2]
    assert values(headers(NAMES[:1], ["KEY", "SCI.KEY"], hdu=hdu, store=tmp_path), "SCI.KEY") == [1]


def test_products_of_all_kinds(folder):
    """A row of a table, a Product and a URI name products; one that is named twice has two rows and is read once."""
    table = Table({"productFilename": NAMES[:1], "obs_id": ["jabc01aaq"]})
    product = Product(filename=NAMES[1], key=f"hst/public/jabc/jabc01abq/{NAMES[1]}")
    store = RecordingStore(folder)
    found = headers([table[0], product, f"mast:HST/product/{NAMES[1]}"], "EXPTIME", store=store)
    assert values(found, "EXPTIME") == [0.0, 100.0, 100.0]
    assert store.reads == 2


def test_no_products(folder):
    """Of nothing the table has its columns and no rows."""
    table = headers([], ["EXPTIME"], store=folder)
    assert table.colnames == ["productFilename", "EXPTIME"]
    assert len(table) == 0


def test_meta_tells_what_was_asked_and_what_it_took(folder):
    """The criteria, the service, the time, the versions, requests and bytes."""
    meta = headers(NAMES, ["EXPTIME"], store=folder).meta
    assert meta["criteria"] == {"keywords": ["EXPTIME"], "hdu": "0"}
    assert meta["service"] == "GetObject"
    assert meta["requests"] == 3
    assert meta["bytes"] == sum(p.stat().st_size for p in folder.rglob("*.fits"))
    assert meta["errors"] == {}
    assert {"endpoint", "time", "versions"} <= set(meta)


def test_the_table_survives_ecsv(tmp_path):
    """Masks and empty texts are the same after the table was written and read."""
    written(tmp_path, NAMES[0], {"A": "", "B": 1})
    written(tmp_path, NAMES[1], {"A": "x"})
    table = headers(NAMES[:2], ["A", "B"], store=tmp_path)
    table.write(tmp_path / "t.ecsv")
    again = Table.read(tmp_path / "t.ecsv")
    assert values(again, "A") == ["", "x"]
    assert values(again, "B") == [1, None]


# --- What is read ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve four files of four chips with large data, whose headers differ a little in length."""
    folder = tmp_path_factory.mktemp("served")
    for i, letter in enumerate("abcd"):
        chips = [
            science(v, {"PHOTFLAM": v * 1.5, **{f"K{k}": k for k in range(40 * i)}}, size=512) for v in range(1, 5)
        ]
        written(folder, f"jabc01a{letter}q_flt.fits", {"EXPTIME": float(i)}, *chips)
    with LocalArchive(folder) as archive:
        yield archive


FLTS = [f"jabc01a{letter}q_flt.fits" for letter in "abcd"]


def test_primary_keywords_cost_one_request_a_file(served):
    """One GET of 32 KiB for each file, nothing else, however many keywords."""
    served.forget()
    table = headers(FLTS, ["EXPTIME", "BITPIX", "NOBODY"], store=served.endpoint)
    assert values(table, "EXPTIME") == [0.0, 1.0, 2.0, 3.0]
    assert [(r.method, r.range) for r in served.requests] == [("GET", "bytes=0-32767")] * 4
    assert table.meta["requests"] == 4
    served.forget()
    headers(FLTS, store=served.endpoint)
    assert [(r.method, r.range) for r in served.requests] == [("GET", "bytes=0-32767")] * 4


def test_the_first_extension_costs_no_more_requests(served):
    """The first block of a file holds the header of the first extension too."""
    served.forget()
    table = headers(FLTS[:1], ["EXPTIME", "SCI.PHOTFLAM"], store=served.endpoint)
    assert values(table, "SCI.PHOTFLAM") == [1.5]
    assert [(r.method, r.range) for r in served.requests] == [("GET", "bytes=0-65535")]


def test_a_far_extension_is_walked_to_and_no_further(tmp_path):
    """Each header before it is one round trip in the first file, and all of them one in the next like it."""
    for i, name in enumerate(NAMES):
        chips = [
            science(v, {"PHOTFLAM": v * 1.5 + i, **{f"K{k}": k for k in range(40 * i)}}, size=512) for v in range(1, 5)
        ]
        written(tmp_path, name, {}, *chips)
    store = RecordingStore(tmp_path)
    table = headers(NAMES, "SCI,3.PHOTFLAM", store=store, in_flight=1)
    assert values(table, "SCI,3.PHOTFLAM") == [4.5, 5.5, 6.5]
    assert [len(batch) for batch in store.batches[:3]] == [1, 1, 1]
    assert max(len(batch) for batch in store.batches[3:]) == 3
    assert len(store.batches) <= 3 * 3


def test_a_long_header_is_read_on(tmp_path):
    """A header beyond the first block costs one more request for each 32 KiB."""
    written(tmp_path, NAMES[0], {f"K{k}": k for k in range(1000)} | {"LAST": 7})
    store = RecordingStore(tmp_path)
    assert values(headers(NAMES[0], ["LAST", "K500"], store=store), "LAST") == [7]
    assert [[tuple(r) for r in batch] for batch in store.batches] == [[(0, 32768)], [(32768, 65536)], [(65536, 80640)]]


def test_a_drizzled_file_takes_one_request(tmp_path):
    """Primary headers of drizzled products list their inputs, and are still read at once."""
    name = written(tmp_path, "jabc01010_drc.fits", {f"D{k:03}DATA": "x" * 60 for k in range(800)})
    store = RecordingStore(tmp_path)
    assert values(headers(name, ["D799DATA"], store=store), "D799DATA") == ["x" * 60]
    assert store.reads == 1


def test_a_demonstration_flc_equals_astropy(tmp_path):
    """All keywords of all its HDUs, those of distortions included."""
    hdus = imaging.acs_wfc_flc(rootname="jabc01aaq", scale=64)
    key = put(tmp_path, NAMES[0], hdus)
    with fits.open(tmp_path / key) as local:
        for i, hdu in enumerate(local):
            table = headers(NAMES[0], hdu=i, store=tmp_path)
            names = [name for name in dict.fromkeys(hdu.header) if name]
            assert table.colnames[1:] == names
            for name in set(names) - {"COMMENT", "HISTORY"}:
                assert values(table, name) == [hdu.header[name]], name


# --- What goes wrong -------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(folder):
    """Put three files beside the good ones that cannot be read."""
    put(folder, "jabc01baq_flc.fits", b"<html>no file</html>" * 300)
    put(folder, "jabc01bbq_flc.fits", b"SIMPLE  =                    T".ljust(2880))
    return [NAMES[0], "jabc01baq_flc.fits", "jabc01bbq_flc.fits", "jabc01bcq_flc.fits", NAMES[2]]


@pytest.mark.parametrize(
    ("at", "error", "text"),
    [
        (1, FormatError, r"jabc01baq_flc\.fits \(6000 bytes\) is no FITS file: .* found b'<html>no file"),
        (
            2,
            TruncatedFileError,
            r"jabc01bbq_flc\.fits is truncated: the object ends after 2880 bytes, within its first",
        ),
        (3, ObjectNotFoundError, r"jabc01bcq_flc\.fits does not exist"),
    ],
)
def test_a_broken_product_raises(at, error, text, broken, folder):
    """By default the call ends with what is wrong with which file."""
    with pytest.raises(error, match=text):
        headers([broken[0], broken[at]], "EXPTIME", store=folder)


def test_broken_products_are_left_out_with_one_warning(broken, folder):
    """With on_error='skip' the others are there, and one warning lists those that are not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = headers(broken, "EXPTIME", store=folder, on_error="skip")
    assert values(table, "productFilename") == [NAMES[0], NAMES[2]]
    assert values(table, "EXPTIME") == [0.0, 200.0]
    assert [w.category for w in caught] == [HSTCloudWarning]
    text = str(caught[0].message)
    assert text.startswith("3 of 5 products could not be read and are left out:\n  jabc01baq_flc.fits: ")
    assert text.count("\n") == 3
    assert caught[0].filename == __file__
    assert list(table.meta["errors"]) == broken[1:4]


def test_broken_products_are_masked(broken, folder):
    """With on_error='mask' they have a row with their name alone."""
    with pytest.warns(HSTCloudWarning, match="3 of 5 products could not be read and are masked"):
        table = headers([*broken[:4], broken[0]], "EXPTIME", store=folder, on_error="mask")
    assert values(table, "productFilename") == [*broken[:4], broken[0]]
    assert values(table, "EXPTIME") == [0.0, None, None, None, 0.0]


def test_each_broken_product_is_named_once(broken, folder):
    """A reason that begins with the name has it already, and what names nothing was told twice."""
    with pytest.warns(HSTCloudWarning, match="2 of 3 products could not be read") as caught:
        headers([broken[0], "no such name", "u4ge0106j_jit.fits"], "EXPTIME", store=folder, on_error="mask")
    _, first, second = str(caught[0].message).splitlines()
    assert first.startswith("  'no such name' names no file")
    assert second.startswith("  u4ge0106j_jit.fits has no known place")
    assert (first.count("no such name"), second.count("u4ge0106j_jit.fits has")) == (1, 1)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("jabc01aaq", NotInCloudError, "jabc01aaq names an observation with several files: .*'jabc01aaq_raw.fits'"),
        ("u4ge0106j_jit.fits", NotInCloudError, r"u4ge0106j_jit\.fits has no known place in the bucket: .*verify=True"),
        ("no such name", ProductNameError, "'no such name' names no file"),
    ],
)
def test_what_has_no_place_is_told_before_anything_is_read(given, error, text, folder):
    """A product that cannot be asked for costs no request."""
    store = RecordingStore(folder)
    with pytest.raises(error, match=text):
        headers([NAMES[0], given], "EXPTIME", store=store)
    assert store.reads == 0


def test_a_broken_card_names_file_and_card(tmp_path):
    """A card that astropy refuses is an error that says where it is, for who asks for it."""
    text = b"".join(c.ljust(80) for c in [b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 0", b"BAD     = 1.5.2", b"END"])
    put(tmp_path, NAMES[0], text.ljust(2880))
    assert values(headers(NAMES[0], "NAXIS", store=tmp_path), "NAXIS") == [0]
    for keywords in ("BAD", None):
        with pytest.raises(FormatError, match=r"jabc01aaq_flc\.fits: the value of BAD cannot be read: .*1\.5\.2"):
            headers(NAMES[0], keywords, store=tmp_path)


def test_an_extension_that_may_be_cut_off_is_no_missing_one(folder):
    """Of a truncated file nobody knows whether it has the extension, so it is an error and not a masked value."""
    path = folder / "hst/public/jabc/jabc01aaq" / NAMES[0]
    path.write_bytes(path.read_bytes()[:6000])
    assert values(headers(NAMES[0], "SCI,1.PHOTFLAM", store=folder), "SCI,1.PHOTFLAM") == [0.0]
    with pytest.raises(TruncatedFileError, match=r"the object ends after 6000 bytes, within HDU 1 \(SCI\)"):
        headers(NAMES[0], "SCI,2.PHOTFLAM", store=folder)


def test_a_compressed_file_says_so(folder):
    """What cannot be read in parts is refused with advice."""
    put(folder, "jabc01baq_flc.fits", b"\x1f\x8b\x08" + bytes(100))
    with pytest.raises(
        FormatError, match=r"is compressed and cannot be read in parts\. hst_cloud\.open reads it whole"
    ):
        headers("jabc01baq_flc.fits", "EXPTIME", store=folder)


@pytest.mark.parametrize(
    ("keywords", "options", "text"),
    [
        ([], {}, "keywords is empty: name one, or leave it out"),
        (["EXP*"], {}, r"'EXP\*' is not the name of one keyword"),
        (["SCI,x.KEY"], {}, "hdu='SCI,x' names no HDU"),
        ([5], {}, "5 is no keyword"),
        (["productFilename"], {}, "'productFilename' is no keyword"),
        (["A"], {"hdu": -1}, "hdu=-1 names no HDU: expected a position from 0"),
        (["A"], {"hdu": True}, "hdu=True names no HDU"),
        (["A"], {"on_error": "ignore"}, "on_error='ignore' is not known: expected 'raise', 'skip' or 'mask'"),
    ],
)
def test_what_makes_no_sense_is_refused(keywords, options, text, folder):
    """A mistake in the question is told before anything is read."""
    store = RecordingStore(folder)
    with pytest.raises(QueryError, match=text):
        headers(NAMES, keywords, store=store, **options)
    assert store.reads == 0


def test_progress_counts_products(folder):
    """Each product that is done is told, to the last one."""
    seen = []
    headers(NAMES, "EXPTIME", store=folder, progress=seen.append)
    assert [(p.what, p.done, p.total) for p in seen] == [("products", n, 3) for n in (1, 2, 3)]


@pytest.mark.parametrize("over", ["s3fs", "obstore"])
def test_a_larger_file_before_does_no_harm_over_other_stores(over, tmp_path):
    """Where a store refuses ranges behind the end, the first block is asked for instead."""
    written(tmp_path, NAMES[0], {}, science(1, {"EXPTIME": 1.0}, size=900), science(2, {"EXPTIME": 2.0}))
    written(tmp_path, NAMES[1], {}, science(1, {"EXPTIME": 3.0}), science(2, {"EXPTIME": 4.0}))
    with LocalArchive(tmp_path) as archive:
        table = headers(NAMES[:2], "SCI,2.EXPTIME", store=adapted(over, archive), in_flight=1)
    assert list(table["SCI,2.EXPTIME"]) == [2.0, 4.0]
