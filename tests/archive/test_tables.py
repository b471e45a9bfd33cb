"""MAST's answers become tables of one shape that survive being written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from archive.recording_mast import answer
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.archive.tables import OBSERVATIONS, PRODUCTS, blank, from_answers, texts
from hst_cloud.errors import ArchiveAnswerError

ROWS = [
    {
        "obsid": 24799697,
        "obs_id": "ibf301040",
        "s_ra": 10.85,
        "t_min": 55544.18,
        "t_exptime": 1010,
        "em_min": None,
        "calib_level": 3,
        "sequence_number": None,
        "mtFlag": False,
        "target_name": "M31-é",
        "dataURL": None,
        "_selected_": None,
        "newColumn": "x",
    },
    {
        "obsid": "24799698",
        "obs_id": "",
        "s_ra": float("nan"),
        "t_min": 1.0,
        "t_exptime": None,
        "em_min": 243.2,
        "calib_level": None,
        "sequence_number": 4,
        "mtFlag": None,
        "target_name": "plain, 'quoted' \"text\"",
        "dataURL": "mast:x",
        "_selected_": True,
        "newColumn": None,
    },
]
FIELDS = [
    {"name": name, "type": kind}
    for name, kind in {
        "obsid": "string",
        "obs_id": "string",
        "s_ra": "float",
        "t_min": "float",
        "t_exptime": "float",
        "em_min": "float",
        "calib_level": "int",
        "sequence_number": "int",
        "mtFlag": "boolean",
        "target_name": "string",
        "dataURL": "string",
        "_selected_": "boolean",
        "newColumn": "string",
    }.items()
]
META = {"criteria": {"filters": ["F814W"], "t_min": [1.5, 2.5]}, "service": "Mast.Caom.Filtered", "rows_total": 2}


def assert_same(ours, theirs):
    assert theirs.colnames == ours.colnames
    for name in ours.colnames:
        mine, other = MaskedColumn(ours[name]), MaskedColumn(theirs[name])
        assert other.unit == mine.unit, name
        assert np.array_equal(other.mask, mine.mask), name
        assert (
            other.filled(0 if mine.dtype.kind in "ifb" else "").tolist()
            == mine.filled(0 if mine.dtype.kind in "ifb" else "").tolist()
        ), name
        assert other.dtype.kind == mine.dtype.kind, name


def test_an_answer_becomes_a_table():
    """Ids are text, numbers that are missing are masked, texts that are missing are empty, units are there."""
    table = from_answers([answer(ROWS[:1], FIELDS), answer(ROWS[1:], FIELDS)], OBSERVATIONS, META)
    assert table["obsid"].tolist() == ["24799697", "24799698"]
    assert table["s_ra"].mask.tolist() == [False, True]
    assert table["em_min"].mask.tolist() == [True, False]
    assert table["calib_level"].tolist() == [3, None]
    assert table["calib_level"].dtype == np.int64
    assert table["mtFlag"].tolist() == [False, None]
    assert table["dataURL"].tolist() == ["", "mast:x"]
    assert table["newColumn"].tolist() == ["x", ""]
    assert "_selected_" not in table.colnames
    assert "distance" not in table.colnames
    assert {c.dtype.kind for c in table.columns.values()} <= set("Uifb")
    assert table.meta == META
    units = {name: table[name].unit for name in ("s_ra", "t_min", "t_exptime", "em_min", "obs_id")}
    assert units == {"s_ra": u.deg, "t_min": u.d, "t_exptime": u.s, "em_min": u.nm, "obs_id": None}
    assert "modified Julian" in table["t_min"].description


@pytest.mark.parametrize("fields", [OBSERVATIONS, PRODUCTS])
def test_a_table_without_rows_has_all_columns_with_types_and_units(fields):
    """What follows need not ask."""
    table = blank(fields)
    full = from_answers([answer([{"obs_id": "x"}])], fields)
    assert len(table) == 0
    assert table.colnames == full.colnames
    assert table.colnames == [f.name for f in fields if f.always]
    for name in table.colnames:
        assert (table[name].dtype.kind, table[name].unit) == (full[name].dtype.kind, full[name].unit)
    assert blank(PRODUCTS)["size"].unit == u.byte


@pytest.mark.parametrize("rows", [ROWS, ROWS[1:], []])
@pytest.mark.parametrize("form", ["ascii.ecsv", "votable", "parquet"])
def test_tables_survive_being_written(tmp_path, form, rows):
    """Values, masks, units and types; in ECSV the meta, too. Empty texts stay empty texts."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")  # which astropy asks for to read Parquet, and not to write it
    table = from_answers([answer(rows, FIELDS)], OBSERVATIONS, META)
    table.write(tmp_path / "t", format=form)
    again = Table.read(tmp_path / "t", format=form)
    assert_same(table, again)
    if form == "ascii.ecsv":
        assert again.meta == META


def test_parts_of_a_table_survive_as_well(tmp_path):
    """Rows and columns chosen from it keep what makes empty texts last."""
    table = from_answers([answer(ROWS, FIELDS)], OBSERVATIONS, META)
    part = table[np.array([False, True])]["obsid", "obs_id", "dataURL"]
    part.write(tmp_path / "t.ecsv")
    assert_same(part, Table.read(tmp_path / "t.ecsv"))


def test_columns_of_foreign_tables_are_read_as_texts():
    """Numbers for ids, bytes for text, masked texts, quantities, a single row, a column that is not there."""
    table = Table({"obsid": MaskedColumn([24799697, 1], mask=[False, True]), "obs_id": [b"a", b"b"]})
    table["target_name"] = MaskedColumn(["x", "y"], mask=[True, False])
    table["t_exptime"] = [1.0, 2.5] * u.s
    for foreign in (table, QTable(table)):
        assert texts(foreign, "obsid") == ["24799697", ""]
        assert texts(foreign, "obs_id") == ["a", "b"]
        assert texts(foreign, "target_name") == ["", "y"]
        assert texts(foreign, "t_exptime") == ["1", "2.5"]
    assert texts(table[1], "obs_id") == ["b"]
    assert texts(table, "nothing") == ["", ""]
    assert texts(Table({"obsid": [24799697.0, np.nan]}), "obsid") == ["24799697", ""]


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ({"s_ra": "east"}, "float", "'s_ra' holds something in row 0 that is no float.*east"),
        ({"calib_level": 2.5}, "int", "'calib_level' .*2.5 is no whole number"),
        ({"calib_level": {}}, "int", "'calib_level'"),
        ({"mtFlag": "perhaps"}, "boolean", "'perhaps' is neither true nor false"),
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_it(row, kind, text):
    """Not a column of objects, nor a traceback of numpy's."""
    fields = [{"name": next(iter(row)), "type": kind}]
    with pytest.raises(ArchiveAnswerError, match=text):
        from_answers([answer([row], fields)], OBSERVATIONS)


@pytest.mark.parametrize("broken", [{}, {"data": []}, {"fields": []}, {"data": [1], "fields": []}])
def test_an_answer_without_rows_or_fields_is_an_error(broken):
    """It says what the answer has."""
    with pytest.raises(ArchiveAnswerError, match=r"no 'fields' and 'data'"):
        from_answers([broken], OBSERVATIONS)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53), st.text(), st.booleans())))
def test_any_values_make_a_column_of_text(values):
    """JSON's values, whatever the declared type was."""
    table = from_answers([answer([{"x": v} for v in values], [{"name": "x", "type": "string"}])], ())
    assert table["x"].dtype.kind == "U"
    assert len(table["x"]) == len(values)


def test_recorded_answers_become_tables(shared_data):
    """Of all columns and rows that they have."""
    names = {
        "astroquery/caom.json": OBSERVATIONS,
        "astroquery/advSearch.json": OBSERVATIONS,
        "astroquery/advSearchPos.json": OBSERVATIONS,
        "notebooks/tike_phat_observations.json": OBSERVATIONS,
        "astroquery/products.json": PRODUCTS,
        "notebooks/tike_phat_products_head_tail.json": PRODUCTS,
        "notebooks/hstnb_cos_products_partial.json": PRODUCTS,
        "astroquery/countsResp.json": (),
    }
    for name, fields in names.items():
        recorded = json.loads((shared_data / "mast" / name).read_text())
        table = from_answers([recorded], fields)
        assert len(table) == len(recorded["data"])
        for field in recorded["fields"]:
            if field["name"] == "_selected_":
                continue
            for value, row in zip(table[field["name"]], recorded["data"], strict=True):
                there = row.get(field["name"])
                if there is None:
                    assert value == "" or value is np.ma.masked
                else:
                    assert value == (str(there) if field["type"] == "string" else there)
