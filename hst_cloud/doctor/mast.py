"""What is assumed of MAST's services: that they answer in the shapes in which they were recorded.

Sources: https://mast.stsci.edu/api/v0/ (services, fields of CAOM and of products) and the answers that astroquery's
tests have recorded.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import requests
from astropy import units as u
from astropy.coordinates import SkyCoord

from hst_cloud.archive.lookups import lookup_name, lookup_paths
from hst_cloud.archive.places import place
from hst_cloud.archive.session import cause_of, excerpt, new_session
from hst_cloud.archive.tables import OBSERVATIONS, PRODUCTS, from_answers
from hst_cloud.doctor.services import ASK_MAST, BLOCK, Services, ask, invoke, mast_json, rows_of
from hst_cloud.doctor.values import HAP_URI, KNOWN_KEYS, SUB_PRODUCT, Assumption, BrokenError, UnaskedError
from hst_cloud.errors import ArchiveAnswerError, ArchiveUnavailableError
from hst_cloud.store.policy import Clock
from hst_cloud.store.s3 import content_range

__all__ = ["ARCHIVE"]

TARGET = "M 101", SkyCoord(210.802267, 54.34895, unit="deg")  # ICRS; SIMBAD
NEAR = 1 * u.arcmin  # resolvers differ by seconds of arc on the center of a galaxy

_FILTERED = "Mast.Caom.Filtered"
_PRODUCTS = "Mast.Caom.Products"

# Columns without which search, products or resolve give less than they promise; the others are passed on.
_OBSERVATION = (
    *("obsid", "obs_id", "obs_collection", "instrument_name", "filters", "intentType", "calib_level", "target_name"),
    *("dataproduct_type", "s_ra", "s_dec", "s_region", "t_min", "t_max", "t_exptime", "proposal_id", "dataRights"),
)
_PRODUCT = (
    *("obsID", "obs_id", "dataURI", "productFilename", "productType", "productSubGroupDescription", "project"),
    *("size", "parent_obsid", "dataRights", "calib_level"),
)
_NUMBERS = ("s_ra", "s_dec", "t_min", "t_max", "t_exptime")  # asked for by ranges
_LISTS = ("obs_collection", "filters")  # several values in one cell


def _filter(name: str, *values: object, text: str = "") -> dict[str, object]:
    asked: dict[str, object] = {"paramName": name, "values": list(values)}
    return asked | ({"freeText": text} if text else {})


def _of_known() -> list[dict[str, object]]:
    """Return the filters that find the observations of the known files."""
    obs_ids = [known.obs_id for known in KNOWN_KEYS]
    return [_filter("obs_collection", "HST") | {"separator": ";"}, _filter("obs_id", *obs_ids)]


def _known_rows(services: Services, needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    answer = invoke(services, _FILTERED, {"columns": "*", "filters": _of_known()})
    return rows_of(answer, _FILTERED, needed)


def _answers(services: Services) -> str:
    url = f"{services.mast}/api/v0/invoke"
    try:
        with new_session(Clock(ASK_MAST)) as session:  # through the proxies of the environment, as search does
            answer = session.get(url)
    except ArchiveUnavailableError as error:
        raise BrokenError(str(error)) from error
    except requests.RequestException as error:
        message = f"no answer from {url}: {type(error).__name__}: {cause_of(error)}"
        raise BrokenError(message) from error
    return f"{url} answers with HTTP {answer.status_code}"


def _columns(services: Services) -> str:
    what = {"data": {"colConfigId": "Mast.Caom.Cone"}}
    columns = mast_json(services, "POST", "portal/Mashup/Mashup.asmx/columnsconfig", **what)
    if not isinstance(columns, dict) or not all(isinstance(column, dict) for column in columns.values()):
        message = f"the configuration is no object of objects: {excerpt(json.dumps(columns))}"
        raise BrokenError(message)
    searched = [name for name in _OBSERVATION if name != "s_region"]
    wrong = [f"{name} is missing" for name in searched if name not in columns]
    for name in set(searched) & columns.keys():
        kind, separator = columns[name].get("vot.datatype"), columns[name].get("separator")
        number = kind in {"double", "float", "numeric"}  # as astroquery's build_filter_set decides
        if number != (name in _NUMBERS):
            wrong.append(f"{name} is of type {kind}")
        if (name in _LISTS) != bool(separator):
            wrong.append(f"{name} has {f'the separator {separator!r}' if separator else 'no separator'}")
    if wrong:
        raise BrokenError(f"of {len(columns)} columns, " + ", ".join(sorted(wrong)))
    return f"{len(columns)} columns, among them the {len(searched)} that are searched by, of the types expected"


def _observations(services: Services) -> str:
    answer = invoke(services, _FILTERED, {"columns": "*", "filters": _of_known()})
    rows = rows_of(answer, _FILTERED, _OBSERVATION)
    if not rows:
        message = f"none of the observations {', '.join(known.obs_id for known in KNOWN_KEYS)} is found"
        raise BrokenError(message)
    _read(answer, OBSERVATIONS)
    return f"{len(rows)} of {len(KNOWN_KEYS)} observations, {len(answer['fields'])} columns"


def _read(answer: Mapping[str, Any], fields: Any) -> None:
    try:
        from_answers([answer], fields)
    except ArchiveAnswerError as error:
        raise BrokenError(str(error)) from error


def _instruments(services: Services) -> str:
    names = {str(row["obs_id"]).lower(): str(row["instrument_name"]) for row in _known_rows(services)}
    found = {known.instrument: names.get(known.obs_id, "no row") for known in KNOWN_KEYS}
    seen = ", ".join(f"{instrument}: {name}" for instrument, name in found.items())
    if any(name.partition("/")[0] != instrument for instrument, name in found.items()):
        raise BrokenError(seen)
    return seen


def _patterns(services: Services) -> str:
    filters = [*_of_known(), _filter("instrument_name", text="WFC3%")]
    rows = rows_of(invoke(services, _FILTERED, {"columns": "*", "filters": filters}), _FILTERED)
    names = sorted({str(row.get("instrument_name")) for row in rows})
    seen = f"freeText 'WFC3%' finds {len(rows)} of {len(KNOWN_KEYS)} observations: {', '.join(names) or 'none'}"
    if not rows or not all(name.startswith("WFC3") for name in names):
        raise BrokenError(seen)
    return seen


def _count(services: Services) -> str:
    answer = invoke(services, _FILTERED, {"columns": "COUNT_BIG(*)", "filters": _of_known()})
    rows = rows_of(answer, _FILTERED)
    try:
        counted = int(rows[0]["Column1"])
    except (LookupError, TypeError, ValueError) as error:
        message = f"COUNT_BIG(*) is answered with {excerpt(json.dumps(rows))}, expected one row with 'Column1'"
        raise BrokenError(message) from error
    return f"{counted} rows counted"


def _pages(services: Services) -> str:
    params, question = {"columns": "*", "filters": _of_known()}, str(uuid.uuid4())
    first, second = (invoke(services, _FILTERED, params, size=1, page=page, question=question) for page in (1, 2))
    ids = [str(row.get("obsid")) for page in (first, second) for row in rows_of(page, _FILTERED)]
    total: list[Any] = [(page.get("paging") or {}).get("rowsTotal") for page in (first, second)]
    seen = f"two pages of one row: obsid {', '.join(ids) or 'none'}; rowsTotal {total[0]} and {total[1]}"
    if not all(isinstance(number, int) for number in total) or total[0] != total[1]:
        raise BrokenError(seen)
    if total[0] < 2:
        message = f"{seen}; too few to turn a page"
        raise UnaskedError(message)
    if len(set(ids)) != 2:
        raise BrokenError(seen)
    return seen


def _product_rows(services: Services) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    obsids = [str(row["obsid"]) for row in _known_rows(services)]
    answer = invoke(services, _PRODUCTS, {"obsid": ",".join(obsids)}, size=5000)
    return answer, rows_of(answer, _PRODUCTS, _PRODUCT)


def _products(services: Services) -> str:
    answer, rows = _product_rows(services)
    if not rows:
        message = "the known observations have no products"
        raise BrokenError(message)
    _read(answer, PRODUCTS)
    return f"{len(rows)} products, {len(answer['fields'])} columns"


def _product_keys(services: Services) -> str:
    _, rows = _product_rows(services)
    by_uri = {str(row["dataURI"]): row for row in rows}
    wrong, right = [], []
    for known in KNOWN_KEYS:
        row = by_uri.get(known.uri)
        if row is None:
            wrong.append(f"{known.uri} is not listed")
            continue
        key, _, reason = place(known.uri, str(row["obs_id"]))
        if key != known.key:
            wrong.append(f"{known.uri} with obs_id {row['obs_id']} has {key or reason}, expected {known.key}")
        else:
            right.append(known.filename)
    if wrong:
        raise BrokenError("; ".join(wrong))
    return f"listed with the obs_id of their folder: {', '.join(right)}"


def _names(services: Services) -> str:
    name, where = TARGET
    found = lookup_name(name, deadline=ASK_MAST.deadline, mast=services.mast)
    apart = found.separation(where)
    seen = f"{name} is at {found.ra.deg:.4f} {found.dec.deg:+.4f}, {apart.arcsec:.1f} arcsec from its place"
    if apart > NEAR:
        raise BrokenError(seen)
    return seen


def _paths(services: Services) -> str:
    every = [*KNOWN_KEYS, SUB_PRODUCT]
    paths = lookup_paths([known.uri for known in every], deadline=ASK_MAST.deadline, mast=services.mast)
    wrong = [
        f"{known.uri}: {paths[known.uri] or 'no path'}, expected /{known.key}"
        for known in every
        if paths[known.uri] != f"/{known.key}"
    ]
    if wrong:
        raise BrokenError("; ".join(wrong))
    return f"the paths of {len(every)} products are their keys"


def _hap_paths(services: Services) -> str:
    path = lookup_paths([HAP_URI], deadline=ASK_MAST.deadline, mast=services.mast)[HAP_URI]
    if path is not None and not path.startswith("/hap/"):
        message = f"{HAP_URI} has the path {path}"
        raise BrokenError(message)
    return f"{HAP_URI} has {f'the path {path}' if path else 'no path'}"


def _download(services: Services) -> str:
    known = KNOWN_KEYS[-1]
    url = f"{services.mast}/api/v0.1/Download/file?uri={quote(known.uri, safe='')}"
    reply = ask(url, {"Range": f"bytes=0-{BLOCK - 1}"})
    told = reply.headers.get("Content-Range", "")
    seen = f"the first {BLOCK} bytes of {known.uri} are answered with {reply}, Content-Range {told or 'absent'!r}"
    if reply.status != 206 or content_range(told)[:2] != (0, BLOCK) or not reply.body.startswith(b"SIMPLE  ="):
        message = f"{seen} and {len(reply.body)} bytes that begin with {reply.body[:9]!r}"
        raise BrokenError(message)
    return seen


ARCHIVE: tuple[Assumption, ...] = (
    Assumption(
        name="mast-answers",
        of="mast",
        statement="MAST can be reached from here.",
        breaks="search, products, names of targets, and path look-ups. Names and URIs still resolve by rule, and "
        "open from the bucket.",
        probe=_answers,
        after=("address",),
    ),
    Assumption(
        name="mast-names",
        of="mast",
        statement=f"Mast.Name.Lookup answers with 'ra' and 'decl': {TARGET[0]} is where it is.",
        breaks="hst_cloud.search by the name of a target. Give its position as center= instead.",
        probe=_names,
        after=("mast-answers",),
    ),
    Assumption(
        name="mast-columns",
        of="mast",
        statement="columnsconfig describes the columns that are searched by, with their types and separators.",
        breaks="hst_cloud.search: conditions on a column are sent in the form that its type asks for.",
        probe=_columns,
        after=("mast-answers",),
    ),
    Assumption(
        name="mast-observations",
        of="mast",
        statement="Mast.Caom.Filtered answers with the columns of observations, in types that can be read.",
        breaks="hst_cloud.search.",
        probe=_observations,
        after=("mast-answers",),
    ),
    Assumption(
        name="mast-instruments",
        of="mast",
        statement="MAST has observations of the five instruments, and names them ACS, COS, STIS, WFC3 and FGS "
        "before the detector.",
        breaks="hst_cloud.search(instrument=...) for those that are missing or have another name.",
        probe=_instruments,
        after=("mast-observations",),
    ),
    Assumption(
        name="mast-patterns",
        of="mast",
        statement="A filter may be a pattern: freeText with % for anything.",
        breaks="hst_cloud.search(instrument='WFC3') for all detectors, and other conditions with *.",
        probe=_patterns,
        after=("mast-observations",),
    ),
    Assumption(
        name="mast-count",
        of="mast",
        statement="COUNT_BIG(*) is answered with one number, Column1.",
        breaks="Counting observations without fetching them, as astroquery's query_criteria_count does.",
        probe=_count,
        after=("mast-answers",),
    ),
    Assumption(
        name="mast-pages",
        of="mast",
        statement="An answer comes in pages, and each tells in rowsTotal how many rows there are.",
        breaks="Completeness: results beyond the first page (50,000 rows) would be lost.",
        probe=_pages,
        after=("mast-observations",),
    ),
    Assumption(
        name="mast-products",
        of="mast",
        statement="Mast.Caom.Products answers for several observations at once, with the columns of products.",
        breaks="hst_cloud.products.",
        probe=_products,
        after=("mast-observations",),
    ),
    Assumption(
        name="mast-product-keys",
        of="mast",
        statement="The obs_id of a product's row is the observation in whose folder the product lies.",
        breaks="The keys of hst_cloud.products for all that are not exposures: their folder is taken from obs_id.",
        probe=_product_keys,
        after=("mast-products",),
    ),
    Assumption(
        name="mast-paths",
        of="mast",
        statement="path_lookup agrees with the rule, also for a product within an association.",
        breaks="hst_cloud.resolve(..., verify=True) of what the rule does not know; where the rule is wrong, the "
        "checks of keys in the bucket fail as well.",
        probe=_paths,
        after=("mast-answers",),
    ),
    Assumption(
        name="mast-hap-paths",
        of="mast",
        statement="path_lookup gives no path below /hst/ for a Hubble Advanced Product.",
        breaks="Nothing that works; the bucket may hold these products now, which are called not_mirrored.",
        probe=_hap_paths,
        after=("mast-answers",),
    ),
    Assumption(
        name="mast-download",
        of="mast",
        statement="Download/file honors ranges.",
        breaks="hst_cloud.open(..., source='mast').",
        probe=_download,
        after=("mast-answers",),
    ),
)
