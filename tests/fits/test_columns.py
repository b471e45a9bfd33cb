"""Tables read by ranges are, column by column, what astropy reads from the same bytes on disk."""

from __future__ import annotations

import gzip
import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import RecordingStore

from hst_cloud.errors import FormatError, QueryError, TruncatedFileError
from hst_cloud.fits.columns import decode, form_of, nulls
from hst_cloud.fits.layout import scan
from hst_cloud.fits.tables import read_tables
from hst_cloud.store.drive import run_one
from hst_cloud.store.plan import drive
from hst_cloud.store.ranges import GAP, coalesce
from hst_cloud.store.s3 import Piece
from hst_cloud.values import ByteRange

NUMBERS = {"B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8", "C": "c8", "M": "c16"}


def every(_number, _extent, form):
    return form.names


def read(content, **options):
    """Drive the plan with bytes; return what it read and the batches that it asked for."""
    batches = []

    def carry(ranges):
        batches.append(list(ranges))
        return [Piece(content[r.start : r.stop], len(content), "e") for r in ranges]

    return drive(reading("k_raw.fits", **options), carry), batches


def reading(key, *, choose=every, rows=None, **options):
    """Return the plan that walks a file and reads its tables."""
    found = yield from scan(key, **options)
    return (yield from read_tables(found, choose, rows=rows))


def content_of(*hdus):
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(out)
    return out.getvalue()


def assert_same_columns(tables, content):
    with warnings.catch_warnings(), fits.open(io.BytesIO(content)) as local:
        warnings.simplefilter("ignore")
        for table in tables:
            data = local[table.number].data
            found = decode(table)
            assert list(found) == list(table.names)
            for name, values in found.items():
                assert_same(values, np.asarray(data[name])[table.rows.start : table.rows.stop])


def assert_same(values, expected):
    assert values.shape == expected.shape
    if expected.dtype.kind == "O":
        assert all(np.array_equal(a, b) for a, b in zip(values, expected, strict=True))
    elif expected.dtype.kind in "SU":
        assert values.tolist() == np.strings.rstrip(expected).tolist()
    else:
        assert values.dtype == expected.dtype.newbyteorder("=")
        assert values.dtype.isnative
        assert values.tobytes() == expected.astype(expected.dtype.newbyteorder("=")).tobytes()
    assert values.flags.owndata or values.base is None or values.base.flags.owndata


@st.composite
def binary_columns(draw, rows):
    """Make a column of any kind that a binary table knows."""
    name = f"C{draw(st.integers(0, 10**6))}"
    match draw(st.sampled_from(["number", "cube", "scaled", "unsigned", "text", "logical", "bits", "variable"])):
        case "number":
            code = draw(st.sampled_from(list(NUMBERS)))
            repeat = draw(st.integers(1, 4))
            shape = (rows, repeat) if repeat > 1 else (rows,)
            array = draw(hnp.arrays(NUMBERS[code], shape, elements={"allow_nan": False} if code in "EDCM" else None))
            return fits.Column(name, f"{repeat}{code}", array=array)
        case "cube":
            return fits.Column(name, "6J", dim="(3,2)", array=np.arange(6 * rows).reshape(rows, 2, 3))
        case "scaled":
            code = draw(st.sampled_from("BIJED"))
            return fits.Column(
                f"S{name}", code, array=draw(hnp.arrays(NUMBERS[code], rows, elements=st.integers(0, 100)))
            )
        case "unsigned":
            code, bits = draw(st.sampled_from([("I", 16), ("J", 32), ("K", 64)]))
            array = draw(hnp.arrays(f"u{bits // 8}", rows))
            return fits.Column(name, code, bzero=2 ** (bits - 1), array=array)
        case "text":
            text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
            return fits.Column(name, "8A", array=np.array(draw(st.lists(text, min_size=rows, max_size=rows)), "U8"))
        case "logical":
            return fits.Column(name, "L", array=draw(hnp.arrays(bool, rows)))
        case "bits":
            count = draw(st.integers(1, 19))
            return fits.Column(name, f"{count}X", array=draw(hnp.arrays(bool, (rows, count))))
        case _:
            arrays = np.empty(rows, object)
            arrays[:] = [np.arange(draw(st.integers(0, 5)), dtype="i2") for _ in range(rows)]
            return fits.Column(name, "PI()", array=arrays)


@st.composite
def binary_tables(draw):
    rows = draw(st.integers(0, 6))
    columns = draw(st.lists(binary_columns(rows), min_size=1, max_size=5, unique_by=lambda c: c.name))
    table = fits.BinTableHDU.from_columns(columns, nrows=rows)
    for number, column in enumerate(columns, 1):
        if column.name.startswith("S"):  # what astropy would not write itself it reads all the same
            zero, scale = draw(st.sampled_from([(0, 2.5), (-128, 1), (7.25, 0.5), (32769, 2)]))
            table.header[f"TSCAL{number}"], table.header[f"TZERO{number}"] = scale, zero
    return table


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=80)
@given(binary_tables(), st.one_of(st.none(), st.slices(6).filter(lambda s: s.step in {None, 1})))
def test_columns_of_any_kind_are_what_astropy_reads(table, rows):
    """Numbers, cubes, scaled and unsigned ones, texts, switches, bits, variable lengths: any rows of them."""
    content = content_of(table)
    tables = read(content, rows=rows)[0].tables
    assert [t.number for t in tables] == [1]
    assert_same_columns(tables, content)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_rows_of_an_ascii_table_are_what_astropy_reads(count, start, stop):
    """A table of text is cut to its rows and left to astropy."""
    columns = [
        fits.Column("I", "I10", array=np.arange(count)),
        fits.Column("E", "E15.7", array=np.arange(count) / 3),
        fits.Column("A", "A12", array=np.array([f"line {n}" for n in range(count)], "U12")),
    ]
    content = content_of(fits.TableHDU.from_columns(columns, nrows=count))
    assert_same_columns(read(content, rows=slice(start, stop))[0].tables, content)


def test_an_ascii_table_of_no_rows_has_columns():
    """astropy itself gives up on the numbers of an empty one."""
    columns = [fits.Column("I", "I10", array=np.arange(0)), fits.Column("A", "A12", array=np.empty(0, "U12"))]
    found = decode(read(content_of(fits.TableHDU.from_columns(columns)))[0].tables[0])
    assert {name: (len(values), values.dtype.kind) for name, values in found.items()} == {"I": (0, "i"), "A": (0, "U")}


@pytest.mark.parametrize(
    "name",
    [
        "stis/odbue5030_x1d.fits",
        "cos/ld9m10ujq_x1d.fits",
        "cos/ld9m10ujq_corrtag_a.fits",
        "cos/ldfd01010_x1dsum.fits.gz",
        "cos/ldfd01010_jit.fits.gz",
        "cos/ldfd01010_trl.fits.gz",
        "cos/lb4c10niq_lampflash.fits.gz",
        "acs/jcmc11010_asn.fits",
    ],
)
@pytest.mark.parametrize("rows", [None, slice(1, 3), slice(-2, None)])
def test_real_tables_are_what_astropy_reads(shared_data, name, rows):
    """Every column of every table of real files."""
    content = (shared_data / "fits" / "hst" / name).read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    tables = read(content, rows=rows)[0].tables
    assert tables
    assert_same_columns(tables, content)


def spectrum_table(length=16384, rows=2):
    columns = [
        fits.Column("SEGMENT", "4A", array=["FUVA", "FUVB"][:rows]),
        fits.Column("WAVELENGTH", f"{length}D", array=np.random.default_rng(1).random((rows, length))),
        *[fits.Column(f"X{n}", f"{length}D", array=np.full((rows, length), n)) for n in range(8)],
        fits.Column("DQ", f"{length}I", array=np.ones((rows, length))),
    ]
    return fits.BinTableHDU.from_columns(columns, name="SCI")


def test_of_long_rows_only_the_columns_are_read():
    """Rows of 1.2 MB: each wanted column costs its own bytes, once for each row."""
    content = content_of(spectrum_table())
    found, batches = read(content, choose=lambda *_: ["WAVELENGTH", "DQ"])
    width = found.tables[0].form.width
    start = found.tables[0].extent.data.start
    first = batches[0][0].stop
    assert batches[1:] == [
        [
            ByteRange(first, start + 4 + 8 * 16384),
            ByteRange(start + width - 2 * 16384, start + width + 4 + 8 * 16384),  # neighbors, of two rows
            ByteRange(start + 2 * width - 2 * 16384, start + 2 * width),
        ]
    ]
    assert_same_columns(found.tables, content)


def test_rows_are_read_alone():
    """The 100 rows that are wanted of a million cost no more than their bytes."""
    table = fits.BinTableHDU.from_columns([fits.Column("TIME", "D", array=np.arange(1_000_000.0))])
    content = content_of(table)
    found, batches = read(content, rows=slice(500_000, 500_100))
    start = found.tables[0].extent.data.start
    assert batches[1:] == [[ByteRange(start + 8 * 500_000, start + 8 * 500_100)]]
    assert_same_columns(found.tables, content)


@pytest.mark.parametrize("first", [10_000, 100_000, 4_000_000])
def test_what_came_at_once_is_not_asked_for_again(first):
    """Whatever was asked for at first; what lies between two gaps may be, since it costs less than a request."""
    content = content_of(spectrum_table(), spectrum_table())
    found, batches = read(content, first=first)
    asked = sorted(r for batch in batches for r in batch)
    assert asked[0] == ByteRange(0, first)
    assert all(r.start >= first for r in asked[1:])
    again = sum(r.size for r in asked) - sum(r.size for r in coalesce(asked, gap=0))
    assert again <= GAP
    assert_same_columns(found.tables, content)


def test_a_whole_small_file_is_one_request():
    """At most 1 MiB of known size: one round trip."""
    content = content_of(spectrum_table(1024))
    assert read(content, size=len(content))[1] == [[ByteRange(0, len(content))]]


def test_stored_nulls_are_found():
    """TNULL is meant of the values as stored, before TSCAL and TZERO."""
    column = fits.Column("A", "J", null=-99, array=np.array([1, -99, 3]))
    other = fits.Column("B", "J", array=np.array([1, -99, 3]))
    found = read(content_of(fits.BinTableHDU.from_columns([column, other])))[0].tables[0]
    assert nulls(found, "A").tolist() == [False, True, False]
    assert nulls(found, "B") is None


def test_names_are_found_whatever_their_case():
    """FITS names are one in any case; a name that is exact comes first."""
    table = fits.BinTableHDU.from_columns([fits.Column("Seconds", "D", array=[1.0])])
    assert list(decode(read(content_of(table), choose=lambda *_: ["SECONDS"])[0].tables[0])) == ["Seconds"]


def test_a_missing_column_is_an_error_that_lists_those_there():
    table = fits.BinTableHDU.from_columns([fits.Column("Seconds", "D", array=[1.0])])
    with pytest.raises(QueryError, match=r"k_raw\.fits has no column RA, DEC in this table: its columns are Seconds"):
        read(content_of(table), choose=lambda *_: ["RA", "DEC"])


def test_rows_with_steps_are_refused():
    with pytest.raises(QueryError, match=r"found slice\(0, 4, 2\)"):
        read(content_of(spectrum_table(8)), rows=slice(0, 4, 2))


def test_a_truncated_table_is_an_error():
    """Rows beyond the end of the object are never made up."""
    content = content_of(spectrum_table())[:1_500_000]
    with pytest.raises(TruncatedFileError, match=r"the object ends after 1500000"):
        read(content)
    assert read(content, rows=slice(0, 1))[0].tables[0].rows == range(1)


def test_a_header_that_astropy_refuses_is_an_error():
    header = fits.Header([("XTENSION", "BINTABLE"), ("TFIELDS", 1), ("TTYPE1", "A"), ("TFORM1", "nonsense")])
    with pytest.raises(FormatError, match=r"some\.fits has a table that astropy cannot read: .*nonsense"):
        form_of(header.tostring().encode(), "some.fits")


def test_text_that_is_not_ascii_is_an_error():
    content = content_of(fits.BinTableHDU.from_columns([fits.Column("A", "4A", array=["XYZW"])]))
    found = read(content.replace(b"XYZW", b"\xc3\xa9ZW"))[0].tables[0]
    with pytest.raises(FormatError, match=r"k_raw\.fits has text that is not ASCII in HDU 1"):
        decode(found)


def test_the_form_is_shared_by_tables_of_other_values():
    """Headers that differ in other cards give one and the same form."""
    first, second = spectrum_table(8), spectrum_table(8)
    second.header["EXPTIME"] = 12.5
    forms = [form_of(t.header.tostring().encode(), "k") for t in (first, second)]
    assert forms[0] is forms[1]


def test_a_store_sees_the_same_batches(tmp_path):
    """One request for a small spectrum of unknown size."""
    (tmp_path / "a_x1d.fits").write_bytes(content_of(spectrum_table(1024)))
    store = RecordingStore(tmp_path)
    run_one(store, "a_x1d.fits", reading("a_x1d.fits"))
    assert store.batches == [[ByteRange(0, 1024 * 1024)]]


VARIABLE = {"format": "PJ()", "array": np.array([np.arange(n) for n in (1, 2, 3)], object)}


@pytest.mark.parametrize("other", [VARIABLE, {"format": "0J"}])
def test_stored_nulls_are_found_in_what_astropy_decodes(other):
    """A column of variable length beside them, or one without width, does not make of no value a number."""
    column = fits.Column("A", "J", null=-99, array=np.array([1, -99, 3]))
    vectors = fits.Column("V", "2I", null=7, array=np.array([[7, 1], [2, 3], [4, 7]]))
    content = content_of(fits.BinTableHDU.from_columns([fits.Column("Z", **other), column, vectors], nrows=3))
    for rows in (slice(None), slice(1, 3)):
        found = read(content, rows=rows)[0].tables[0]
        assert nulls(found, "A").tolist() == [False, True, False][rows]
        assert nulls(found, "V").tolist() == [[True, False], [False, False], [False, True]][rows]
        assert nulls(found, "Z") is None


def test_nulls_of_a_table_of_text_are_found():
    """There TNULL is a text, and blanks around it do not count."""
    number = fits.Column("N", "I6", null="***", array=np.array([1, 2, 333]))
    text = fits.Column("T", "A4", array=["a", "***", "c"])
    content = content_of(fits.TableHDU.from_columns([text, number]))
    found = read(content.replace(b"333", b"***"), rows=slice(1, 3))[0].tables[0]
    assert nulls(found, "N").tolist() == [False, True]
    assert nulls(found, "T") is None
    assert decode(found)["N"].tolist() == [2, 0]


@pytest.mark.parametrize("count", ["NAXIS2  =                   +3", "NAXIS2  = 3 / rows"])
def test_the_number_of_rows_is_its_own_card(count):
    """However it is written, and whatever a comment before it has between its words."""
    content = content_of(fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.array([1, 2, 3]))]))
    start = content.index(b"BITPIX", 2880)
    comment = b"COMMENT was NAXIS2  =                   99".ljust(80)
    header = comment + content[start : start + 80 * 20]
    at = header.index(b"NAXIS2  =                    3")
    header = header[:at] + count.encode().ljust(80) + header[at + 80 :]
    content = content[:start] + header[: 80 * 20] + content[start + 80 * 20 :]
    assert decode(read(content)[0].tables[0])["A"].tolist() == [1, 2, 3]
