"""Tables of products: any HDU, chosen columns and rows, with units; many at once; and the Fine Guidance Sensors."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from support import RecordingStore, put

from hst_cloud.errors import FormatError, HSTCloudWarning, NotInCloudError, QueryError
from hst_cloud.science.tables import columns, table, tables
from hst_cloud.testing import LocalArchive
from hst_cloud.testing.demo import cos, sensors, stis, support
from hst_cloud.values import ByteRange, Product

EVENTS = "ld9m10ujq_corrtag_a.fits"
SENSOR = "f64y0106m_a1f.fits"


def events_file(count=1000):
    """Make a corrtag of COS: events, good times, and a column with TNULL."""
    time = np.linspace(0, 100, count).astype("f4")
    events = [
        fits.Column("TIME", "E", unit="s", array=time),
        fits.Column("RAWX", "I", unit="pixel", array=np.arange(count)),
        fits.Column("WAVELENGTH", "E", unit="angstrom", array=1300 + time),
        fits.Column("PHA", "B", array=np.arange(count) % 32),
        fits.Column("DQ", "I", null=-1, array=np.where(np.arange(count) % 10, 0, -1)),
    ]
    good = [fits.Column("START", "D", unit="seconds", array=[0.0, 50.0])]
    return fits.HDUList([
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns(events, name="EVENTS"),
        fits.ImageHDU(np.zeros((5, 5)), name="SCI"),
        fits.BinTableHDU.from_columns(good, name="GTI", ver=2),
    ])  # fmt: skip


@pytest.fixture
def store(tmp_path):
    put(tmp_path, EVENTS, events_file())
    return RecordingStore(tmp_path)


def test_a_table_has_units_types_and_masks(store):
    """Quantities of the stored type; TNULL is masked; meta tells what was read."""
    found = table(EVENTS, store=store)
    local = events_file()[1].data
    assert isinstance(found, QTable)
    assert found.colnames == local.names
    assert found["WAVELENGTH"].unit == u.AA
    assert found["RAWX"].dtype == np.int16
    assert np.array_equal(found["RAWX"].value, local["RAWX"])
    assert np.array_equal(found["DQ"].mask, local["DQ"] == -1)
    assert not hasattr(found["PHA"], "mask")
    assert {n: found.meta[n] for n in ("hdu", "name", "ver", "rows")} == {
        "hdu": 1, "name": "EVENTS", "ver": 1, "rows": (0, 1000),
    }  # fmt: skip
    assert found.meta["key"].endswith(EVENTS)


@pytest.mark.parametrize("hdu", [3, "GTI", "gti", "GTI,2", ("GTI", 2)])
def test_an_hdu_is_named_in_any_way(store, hdu):
    assert table(EVENTS, hdu, store=store)["START"].to_value(u.s).tolist() == [0.0, 50.0]


@pytest.mark.parametrize("hdu", ["SCI", 7, 2, ("GTI", 1), "NONE"])
def test_an_hdu_that_is_no_table_is_an_error_that_lists_them(store, hdu):
    with pytest.raises(QueryError, match=r"corrtag_a\.fits has no table .*1 EVENTS,1, 2 SCI,1, 3 GTI,2"):
        table(EVENTS, hdu, store=store)


@pytest.mark.parametrize("hdu", [True, 1.5, "GTI,x", ("GTI",)])
def test_what_names_no_hdu_is_an_error(store, hdu):
    with pytest.raises(QueryError, match="names no HDU"):
        table(EVENTS, hdu, store=store)
    assert store.batches == []


@pytest.mark.parametrize("rows", [(0, 3), 3, "0:3"])
def test_rows_that_are_no_slice_are_refused(rows):
    """Before anything is read; a pair was an AttributeError."""
    with pytest.raises(QueryError, match=r"rows=.* is no slice: expected one such as slice\(0, 100\)"):
        table("lzdm01e1q_corrtag_a.fits", rows=rows)


def test_chosen_columns_come_in_the_order_asked(store):
    found = table(EVENTS, columns=["pha", "TIME"], rows=slice(-5, None), store=store)
    assert found.colnames == ["PHA", "TIME"]
    assert np.array_equal(found["PHA"], events_file()[1].data["PHA"][-5:])


def test_rows_of_a_large_list_of_events_cost_their_bytes(tmp_path):
    """100 of 400,000 events: the headers, and 1,300 bytes."""
    key = put(tmp_path, EVENTS, events_file(400_000))
    store = RecordingStore(tmp_path)
    found = table(EVENTS, "EVENTS", rows=slice(300_000, 300_100), store=store)
    with fits.open(tmp_path / key) as local:
        start = local[1]._data_offset
        assert np.array_equal(found["TIME"].value, local[1].data["TIME"][300_000:300_100])
    assert store.batches[-1] == [ByteRange(start + 13 * 300_000, start + 13 * 300_100)]
    assert store.traffic.bytes < 1.3e6


def test_an_unknown_unit_is_an_error(tmp_path):
    """With file, keyword and text; the bare columns are to be had."""
    column = fits.Column("A", "J", unit="furlongs", array=[1])
    key = put(tmp_path, EVENTS, fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]))
    with pytest.raises(FormatError, match=rf"{key} has TUNIT1 = 'furlongs'"):
        table(EVENTS, store=tmp_path)
    assert next(columns(EVENTS, store=tmp_path))[1]["A"].tolist() == [1]


def test_jitter_and_logs_are_tables(tmp_path):
    """Units that say nothing are none; a log is lines of text."""
    for name, made in (("jbqf03010_jit.fits", support.jit), ("jbqf03gjq_trl.fits", support.trl)):
        put(tmp_path, name, made(rootname=name[:9], scale=16))
    jitter = table("jbqf03010_jit.fits", store=tmp_path)
    assert jitter["RA"].unit == u.deg
    assert jitter["Mag_V1"].unit == u.G
    assert not isinstance(jitter["DayNight"], u.Quantity)
    log = table("jbqf03gjq_trl.fits", rows=slice(1, 3), store=tmp_path)
    with fits.open(next(tmp_path.rglob("*_trl.fits"))) as local:
        assert log["TEXT_FILE"].tolist() == [line.rstrip() for line in local[1].data["TEXT_FILE"][1:3]]


# --- Many ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    """Serve 40 spectra of STIS and COS, with some latency."""
    for number in range(40):
        make = stis.stis_echelle_x1d if number % 2 else cos.cos_x1dsum
        letter = "o" if number % 2 else "l"
        name = f"{letter}dbx{number:02d}010_x1d{'' if number % 2 else 'sum'}.fits"
        put(tmp_path, name, make(rootname=name[:9], scale=64))
    with LocalArchive(tmp_path) as archive:
        yield archive


def files_of(folder):
    return sorted(path.name for path in folder.rglob("*_x1d*.fits"))


def test_many_products_come_in_the_order_given(archive, tmp_path):
    """Each with what astropy reads of it; one GET for each file, no HEAD."""
    names = files_of(tmp_path)[::-1]
    paths = [next(tmp_path.rglob(name)) for name in names]
    known = [Product(filename=p.name, key=p.relative_to(tmp_path).as_posix(), size=p.stat().st_size) for p in paths]
    archive.forget()
    found = list(columns(known))
    assert [product.filename for product, _ in found] == names
    assert [r.method for r in archive.requests] == ["GET"] * 40
    for product, arrays in found:
        with fits.open(tmp_path / product.key) as local:
            data = local[1].data
            assert list(arrays) == data.names
            assert all(np.array_equal(arrays[n], data[n]) for n in data.names)
            assert all(a.dtype.isnative for a in arrays.values())


def test_tables_of_many_products_have_units(archive, tmp_path):
    seen = []
    found = list(tables(files_of(tmp_path), columns=["WAVELENGTH", "FLUX"], progress=seen.append))
    assert all(t.colnames == ["WAVELENGTH", "FLUX"] and t["WAVELENGTH"].unit == u.AA for _, t in found)
    assert [(p.done, p.total, p.what) for p in seen] == [(n, 40, "files") for n in range(1, 41)]


def test_a_broken_product_raises_in_its_turn(archive, tmp_path):
    """What comes before it is given."""
    names = files_of(tmp_path)
    found = columns([*names[:3], "odbue5999_x1d.fits", *names[3:]])
    assert [next(found)[0].filename for _ in range(3)] == names[:3]
    with pytest.raises(NotInCloudError, match="odbue5999"):
        next(found)


def test_broken_products_are_skipped_with_one_warning(archive, tmp_path):
    names = files_of(tmp_path)
    with pytest.warns(HSTCloudWarning, match=r"2 of 42 products were skipped:\nodbue5998") as caught:
        found = list(columns(["odbue5998_x1d.fits", *names, "odbue5999_x1d.fits"], on_error="skip"))
    assert [product.filename for product, _ in found] == names
    assert len(caught) == 1


def test_an_iterator_that_is_left_asks_no_more(archive, tmp_path):
    """Closing it after the first result ends what is under way."""
    found = columns(files_of(tmp_path) * 20, in_flight=4)
    next(found)
    found.close()
    count = len(archive.requests)
    assert count < 100
    assert len(archive.requests) == count


# --- Fine Guidance Sensors -------------------------------------------------------------------------------------------


def test_a_sensor_is_a_table_of_time_and_channels(tmp_path):
    """Counts and positions at 40 Hz; the flags, which come with every sixth sample, held until the next."""
    content = sensors.fgs_a1f(rootname="f64y0106m", scale=64)
    key = put(tmp_path, SENSOR, content)
    found = table(SENSOR, store=tmp_path)
    with fits.open(tmp_path / key) as local:
        data, head = local[0].data, local[0].header
        assert found.colnames == ["TIME", "PMTXA", "PMTXB", "PMTYA", "PMTYB", "SSENCA", "SSENCB", "FLAGS"]
        assert len(found) == data.shape[1]
        assert np.allclose(np.diff(found["TIME"].to_value(u.s)), 0.025, atol=1e-6)
        assert found["TIME"][0].to_value(u.s) == head["CRVAL1"]
        for number, name in enumerate(found.colnames[1:-1]):
            lost = np.isin(data[number], (99999998, 99999999))
            assert np.array_equal(found[name].mask, lost)
            values = found[name].unmasked.value if name[0] == "P" else found[name].data.data
            assert np.array_equal(values, data[number])
        assert found["PMTXA"].unit == u.ct
        rows = np.arange(data.shape[1])
        assert np.array_equal(found["FLAGS"].data.data, data[6][rows // 6])


def test_samples_of_a_sensor_are_read_alone(tmp_path, shared_data):
    """Real file, 2.5 MB: the headers, and short ranges in one batch, two of them joined; odd starts move no flag."""
    put(tmp_path, SENSOR, (shared_data / "fits/hst/gsfc_samples/HST_FGS.fits").read_bytes())
    store = RecordingStore(tmp_path)
    whole = table(SENSOR, store=store)
    store.batches.clear()
    part = table(SENSOR, rows=slice(70_001, 70_020), columns=["FLAGS", "TIME", "SSENCA"], store=store)
    assert len(store.batches[-1]) == 6
    assert sum(r.size for r in store.batches[-1]) < 130_000
    assert part.colnames == ["FLAGS", "TIME", "SSENCA"]
    for name in part.colnames:
        assert np.array_equal(np.asarray(part[name]), np.asarray(whole[name][70_001:70_020]))


def test_the_scaling_of_a_sensor_is_its_first_hdu(tmp_path, shared_data):
    """The ASCII table is to be had by its number."""
    put(tmp_path, SENSOR, (shared_data / "fits/hst/gsfc_samples/HST_FGS.fits").read_bytes())
    assert table(SENSOR, 1, store=tmp_path)["CD1_1"].tolist() == [0.025] * 6 + [0.15000001]


def test_a_sensor_without_channels_is_an_error(tmp_path):
    put(tmp_path, SENSOR, fits.HDUList([fits.PrimaryHDU(np.zeros((3, 4), "f4"))]))
    with pytest.raises(FormatError, match=r"a1f\.fits is no file of a sensor's channels.*BITPIX = -32, 4 by 3"):
        table(SENSOR, store=tmp_path)


def test_a_column_that_a_sensor_lacks_is_an_error(tmp_path):
    put(tmp_path, SENSOR, sensors.fgs_a1f(rootname="f64y0106m", scale=64))
    with pytest.raises(QueryError, match=r"has no column PMTZ: its columns are TIME, PMTXA"):
        table(SENSOR, columns=["PMTZ"], store=tmp_path)


@pytest.mark.filterwarnings("ignore:.*is compressed")
def test_a_table_of_a_compressed_file_says_what_reads_it(tmp_path):
    """It has no HDU that is read in parts: the message says why, and names the verb that reads it."""
    content = io.BytesIO()
    events_file(10).writeto(content)
    put(tmp_path, f"{EVENTS}.gz", gzip.compress(content.getvalue()))
    with pytest.raises(QueryError, match=r"its HDUs are none .*it may be compressed: see hst_cloud\.read"):
        table(f"{EVENTS}.gz", store=tmp_path)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"rows": (0, 10)}, r"rows=\(0, 10\) is no slice: expected one such as slice\(0, 100\)"),
        ({"rows": 5}, "rows=5 is no slice"),
        ({"columns": [1]}, r"columns=\(1,\): expected names"),
    ],
)
def test_rows_and_columns_that_are_none_are_refused(store, given, text):
    """Before anything is sent."""
    with pytest.raises(QueryError, match=text):
        table(EVENTS, **given, store=store)
    assert store.batches == []


def test_columns_may_be_an_iterator_or_one_name(store):
    """Every table has them, though an iterator is at its end with the first."""
    for wanted in (iter(["TIME"]), "TIME"):
        found = list(columns([EVENTS, EVENTS], "EVENTS", columns=wanted, store=store))
        assert [list(each) for _, each in found] == [["TIME"], ["TIME"]]
    assert table(EVENTS, columns=iter(["PHA", "TIME"]), store=store).colnames == ["PHA", "TIME"]
