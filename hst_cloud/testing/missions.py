"""The semantics of MAST's Missions search for HST: conditions, positions, product lists, on rows of the catalog.

Conditions on one column are alternatives parted by commas: ``x``, ``!x``, ``<x``, ``>x``, ``a..b``, ``*`` as wildcard;
all ``!`` must hold. Values of text columns come blank-padded as the real service pads them.

Source: https://mast.stsci.edu/search/docs/hst_api_openapi.json and recorded requests and answers of astroquery.mast.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hst_cloud.testing.caom import Json, QueryMistake, separation
from hst_cloud.testing.catalog import Contents
from hst_cloud.testing.columns import Cell, Row

__all__ = ["COLUMN_LIST", "from_query", "list_products", "search"]

_LIMIT = 5000  # rows, where the request names no limit
_MOST_TARGETS = 100
_FARTHEST = 0.5  # degrees
_COMPUTED = ("search_key", "search_pos", "ang_sep")  # columns that are not of a dataset
_UNITS = {"arcseconds": 1 / 3600, "arcminutes": 1 / 60, "degrees": 1.0}
_DAY_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001  # MJD counts from here; answers have no time zone


class _Field(NamedTuple):
    kind: str  # as the answer's "info" says
    shown: bool  # without being asked for
    about: str
    value: Callable[[Row, Row], Cell]  # of an observation and what its headers tell beside


def _when(mjd: Cell) -> Cell:
    return (_DAY_ZERO + timedelta(days=float(mjd))).isoformat() if mjd is not None else None


def _padded(text: Cell, width: int) -> Cell:
    return str(text).ljust(width) if text is not None else None


def _angstrom(row: Row) -> Cell:
    low, high = row["em_min"], row["em_max"]
    return None if low is None or high is None else (float(low) + float(high)) * 5


def _proposal(row: Row) -> Cell:
    return int(str(row["proposal_id"])) if row["proposal_id"] else None


def _last_name(row: Row) -> Cell:
    return str(row["proposal_pi"] or "").partition(",")[0].upper() or None


def _upper(name: str) -> Callable[[Row, Row], Cell]:
    return lambda row, _: str(row[name] or "").upper()


def _instrument(row: Row) -> Cell:
    return _padded(str(row["instrument_name"]).partition("/")[0], 6)


def _status(row: Row) -> Cell:
    return "PUBLIC" if row["dataRights"] == "PUBLIC" else "PROPRIETARY"


_FIELDS: dict[str, _Field] = {
    "sci_data_set_name": _Field("VARCHAR", True, "Dataset: an exposure or an association", _upper("obs_id")),
    "sci_targname": _Field("VARCHAR", True, "Target, as the proposal names it", lambda o, _: o["target_name"]),
    "sci_ra": _Field("FLOAT", True, "Right ascension, degrees", lambda o, _: o["s_ra"]),
    "sci_dec": _Field("FLOAT", True, "Declination, degrees", lambda o, _: o["s_dec"]),
    "sci_refnum": _Field("INTEGER", True, "Papers that use the data", lambda _, __: 0),
    "sci_start_time": _Field("DATETIME", True, "Begin of the first exposure", lambda o, _: _when(o["t_min"])),
    "sci_stop_time": _Field("DATETIME", True, "End of the last exposure", lambda o, _: _when(o["t_max"])),
    "sci_actual_duration": _Field("FLOAT", True, "Exposure time, seconds", lambda o, _: o["t_exptime"]),
    "sci_instrume": _Field("VARCHAR", True, "Instrument", lambda o, _: _instrument(o)),
    "sci_aper_1234": _Field("VARCHAR", True, "Aperture", lambda _, m: m.get("aperture")),
    "sci_spec_1234": _Field("VARCHAR", True, "Filters or grating", lambda o, _: o["filters"]),
    "sci_central_wavelength": _Field("FLOAT", True, "Central wavelength, Angstrom", lambda o, _: _angstrom(o)),
    "sci_pep_id": _Field("INTEGER", True, "Number of the proposal", lambda o, _: _proposal(o)),
    "sci_pi_last_name": _Field("VARCHAR", True, "Principal investigator", lambda o, _: _last_name(o)),
    "sci_release_date": _Field("DATETIME", True, "When they become public", lambda o, _: _when(o["t_obs_release"])),
    "sci_preview_name": _Field("VARCHAR", True, "Name of the preview", _upper("obs_id")),
    "scp_scan_type": _Field("VARCHAR", True, "Spatial scan", lambda _, __: None),
    "sci_hlsp": _Field("INTEGER", True, "High-level science products", lambda _, __: None),
    "sci_status": _Field("VARCHAR", False, "PUBLIC or PROPRIETARY", lambda o, _: _status(o)),
    "sci_aec": _Field("VARCHAR", False, "S science, C calibration", lambda o, _: str(o["intentType"])[:1].upper()),
    "sci_obs_type": _Field("VARCHAR", False, "Kind of observation", _upper("dataproduct_type")),
    "sci_asn_id": _Field("VARCHAR", False, "Association", lambda _, m: str(m.get("asn_id") or "NONE").upper()),
    "sci_instrument_config": _Field("VARCHAR", False, "Instrument, detector", lambda o, _: o["instrument_name"]),
    "sci_operating_mode": _Field("VARCHAR", False, "Mode of data taking", lambda _, m: m.get("mode")),
    "sci_mtflag": _Field("VARCHAR", False, "Whether the target moves", lambda o, _: "T" if o["mtFlag"] else "F"),
    "sci_target_descrip": _Field("VARCHAR", False, "Kind of target", lambda o, _: o["target_classification"]),
}

_DATATYPES = {"VARCHAR": "char", "DATETIME": "char", "FLOAT": "float", "INTEGER": "long"}
_QUALIFIED = {"VARCHAR": "string", "DATETIME": "datetime", "FLOAT": "float", "INTEGER": "integer"}

COLUMN_LIST: list[dict[str, str]] = [
    {
        "field_name": name,
        "column_name": name,
        "description": field.about,
        "datatype": _DATATYPES[field.kind],
        "qual_type": _QUALIFIED[field.kind],
        "queryable": "yes",
        "indexed": "yes",
        "default_output": "yes" if field.shown else "no",
    }
    for name, field in _FIELDS.items()
] + [
    {
        "field_name": name,
        "column_name": name,
        "description": about,
        "datatype": datatype,
        "qual_type": qualified,
        "queryable": "no",
        "indexed": "no",
        "default_output": "yes" if name == "ang_sep" else "no",
    }
    for name, about, datatype, qualified in (
        ("search_pos", "Position that was searched", "char", "string"),
        ("search_key", "Position and dataset", "char", "string"),
        ("ang_sep", "Angle from the position, arcmin", "float", "float"),
    )
]


def from_query(query: dict[str, list[str]]) -> Json:
    """Return what a GET request asks for, in the form of a posted one."""
    listed = {"dataset_ids", "select_cols", "target", "sort_by"}
    given: Json = {name: ",".join(values).split(",") if name in listed else values[0] for name, values in query.items()}
    given["conditions"] = [{name: given.pop(name)} for name in list(given) if name in _FIELDS]
    return given


def search(given: Any, contents: Contents) -> Json:
    """Return the datasets that meet all conditions, within the radius of any target.

    Raises
    ------
    QueryMistake
        A column, a unit or a number is not understood, or a limit is exceeded.
    """
    if not isinstance(given, dict):
        message = "expected a JSON object"
        raise QueryMistake(message)
    shown = [name for name, field in _FIELDS.items() if field.shown]
    names = [name for name in dict.fromkeys(given.get("select_cols") or shown) if name not in {"search_key", "ang_sep"}]
    conditions = [
        (name, _condition(name, value)) for one in given.get("conditions") or [] for name, value in one.items()
    ]
    for name in names:
        _known(name)
    rows = []
    for row in contents.observations:
        beside = contents.modes.get(str(row["obs_id"]), {})
        if all(test(_FIELDS[name].value(row, beside)) for name, test in conditions):
            rows.append({name: _FIELDS[name].value(row, beside) for name in _FIELDS})
    targets = given.get("target") or []
    results = (
        _around(rows, targets, given) if targets else [row | {"search_key": row["sci_data_set_name"]} for row in rows]
    )
    _sort(results, given)
    offset, limit = int(given.get("offset") or 0), int(given.get("limit") or _LIMIT)
    extra = ["search_key", "search_pos", "ang_sep"] if targets else ["search_key"]
    info = [{"name": name, "type": _FIELDS[name].kind} for name in names]
    info += [{"name": name, "type": "FLOAT" if name == "ang_sep" else "VARCHAR"} for name in extra]
    return {
        "messages": [],
        "info": info,
        "search_params": given,
        "totalResults": None if given.get("skip_count") else len(results),
        "results": [{name: row[name] for name in [*names, *extra]} for row in results[offset : offset + limit]],
    }


def _keyed(rows: list[Row]) -> list[Row]:
    return [row | {"search_key": row["sci_data_set_name"]} for row in rows]


def _around(rows: list[Row], targets: list[str], given: Json) -> list[Row]:
    unit = _UNITS.get(str(given.get("radius_units", "arcminutes")))
    if unit is None:
        message = f"radius_units must be one of {', '.join(_UNITS)}, not {given['radius_units']!r}"
        raise QueryMistake(message)
    radius = float(given.get("radius", 3)) * unit
    if radius > _FARTHEST or len(targets) > _MOST_TARGETS:
        message = f"at most {_MOST_TARGETS} targets and a radius of {_FARTHEST * 60:.0f} arcminutes"
        raise QueryMistake(message)
    found = []
    for target in targets:
        try:
            ra, dec = (float(part) for part in str(target).replace(",", " ").split())
        except ValueError as error:
            message = f"expected a target such as '40.66963 -0.01328', found {target!r}"
            raise QueryMistake(message) from error
        for row in rows:
            if row["sci_ra"] is None or row["sci_dec"] is None:
                continue
            distance = separation(ra, dec, float(str(row["sci_ra"])), float(str(row["sci_dec"])))
            if distance <= radius:
                place = {"search_pos": str(target), "search_key": f"{target}{row['sci_data_set_name']}"}
                found.append(row | place | {"ang_sep": distance * 60})
    return found


def _sort(rows: list[Row], given: Json) -> None:
    by, down = given.get("sort_by") or [], given.get("sort_desc") or []
    for index in reversed(range(len(by))):
        name = by[index]
        if name not in _COMPUTED:
            _known(name)
        descending = bool(down[index]) if index < len(down) else False
        rows.sort(key=functools.partial(_sortable, name), reverse=descending)


def _sortable(name: str, row: Row) -> tuple[bool, float, str]:
    cell = row.get(name)
    number = isinstance(cell, int | float)
    return cell is None, float(cell) if isinstance(cell, int | float) else 0.0, "" if number else str(cell)


def _known(name: str) -> _Field:
    if name not in _FIELDS:
        message = f"there is no column {name!r}"
        raise QueryMistake(message)
    return _FIELDS[name]


def _condition(name: str, value: Any) -> Callable[[Cell], bool]:
    """Return a test for one condition such as ``"ACS,COS"``, ``"!WFPC2"``, ``"5..10"``, ``"> 2010-01-01"``."""
    kind = _known(name).kind
    parts = [part.strip() for part in str(value).split(",") if part.strip()]
    wanted = [_single(part, kind) for part in parts if not part.startswith("!")]
    unwanted = [_single(part[1:].strip(), kind) for part in parts if part.startswith("!")]

    def test(cell: Cell) -> bool:
        return not any(one(cell) for one in unwanted) and (not wanted or any(one(cell) for one in wanted))

    return test


def _single(text: str, kind: str) -> Callable[[Cell], bool]:
    convert: Callable[[Any], Any] = float if kind in {"FLOAT", "INTEGER"} else lambda cell: str(cell).strip().casefold()

    def read(part: str) -> Any:
        try:
            return convert(part.strip())
        except ValueError as error:
            message = f"expected a number, found {part!r}"
            raise QueryMistake(message) from error

    compare = re.match(r"(<=|>=|<|>)(.*)", text)
    if compare:
        sign, bound = compare[1], read(compare[2])
        tests: dict[str, Callable[[Any], bool]] = {
            "<": lambda x: bool(x < bound),
            "<=": lambda x: bool(x <= bound),
            ">": lambda x: bool(x > bound),
            ">=": lambda x: bool(x >= bound),
        }
        return lambda cell: cell is not None and tests[sign](convert(cell))
    if ".." in text:
        low, high = (read(part) for part in text.split("..", 1))
        return lambda cell: cell is not None and bool(low <= convert(cell) <= high)
    if "*" in text:
        pattern = re.compile(".*".join(re.escape(part) for part in text.casefold().split("*")))
        return lambda cell: cell is not None and bool(pattern.fullmatch(str(cell).strip().casefold()))
    same = read(text)
    return lambda cell: cell is not None and bool(convert(cell) == same)


def list_products(given: Any, contents: Contents) -> Json:
    """Return the files of the datasets asked for; members' files are listed under their association.

    Raises
    ------
    QueryMistake
        No dataset is named.
    """
    names = given.get("dataset_ids") if isinstance(given, dict) else None
    if isinstance(names, str):
        names = names.split(",")
    if not names:
        message = "dataset_ids must name at least one dataset"
        raise QueryMistake(message)
    obsids = {str(row["obs_id"]): str(row["obsid"]) for row in contents.observations}
    found: list[Json] = []
    for name in names:
        dataset = str(name).strip().upper()
        products = contents.products.get(obsids.get(dataset.lower(), ""), [])
        found += [_product(dataset, product) for product in products if product["obs_collection"] == "HST"]
    return {"products": found}


def _product(dataset: str, product: Row) -> Json:
    filename = str(product["productFilename"])
    level = int(product["calib_level"] or 0)
    auxiliary = product["productType"] != "SCIENCE"
    return {
        "product_key": f"{dataset}_{filename}",
        "access": "PUBLIC" if product["dataRights"] == "PUBLIC" else "PROPRIETARY",
        "dataset": dataset,
        "instrument_name": _padded(str(product["project"]).removeprefix("CAL"), 6),
        "filters": product["filters"],
        "filename": filename,
        "uri": f"{dataset}/{filename}",
        "authz_primary_identifier": dataset,
        "authz_secondary_identifier": "CAL",
        "file_suffix": product["productSubGroupDescription"],
        "category": "AUX" if auxiliary else "UNCALIBRATED" if level < 2 else "CALIBRATED",
        "size": product["size"],
        "type": "science",
    }
