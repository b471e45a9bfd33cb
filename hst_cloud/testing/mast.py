"""The embedded archive as MAST: the services that HST's data are found and fetched by.

Mashup (``invoke`` with the Caom services, name look-up, column configuration), ``path_lookup``, ``Download/file``
and the Missions search, in the shapes of MAST's recorded answers.

Sources: https://mast.stsci.edu/api/v0/ and recorded requests and answers of astroquery.mast.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from hst_cloud.archive.names import key_of, parse_filename
from hst_cloud.errors import ProductNameError
from hst_cloud.testing import missions
from hst_cloud.testing.caom import Json, QueryMistake, around, filtered, page_of, select
from hst_cloud.testing.catalog import Catalog, Contents, plain_name
from hst_cloud.testing.columns import DISTANCE, OBSERVATION, PRODUCT, Column, Row, configuration
from hst_cloud.testing.files import Folder
from hst_cloud.testing.messages import Answer, Ask, Work
from hst_cloud.testing.s3 import object_answer

__all__ = ["PATHS", "Mast"]

PATHS = ("/api/", "/portal/", "/search/")
"""Beginnings of the paths that are MAST's; all others are the bucket's."""

_PAGE = 1000  # rows in a page where the request names no size: MAST's default
_MISSIONS = "/search/hst/api/v0.1/"


class Mast:
    """MAST's services over one catalog. May be used by several threads.

    Parameters
    ----------
    catalog : Catalog
        What is served.
    folder : Folder
        Where the files are.
    executing : int
        How many times a query is answered with ``EXECUTING`` first.
    largest_page : int
        Most rows in one page.
    """

    def __init__(self, catalog: Catalog, folder: Folder, *, executing: int = 0, largest_page: int = 50_000) -> None:
        self._catalog = catalog
        self._folder = folder
        self._executing = executing
        self._largest_page = largest_page
        self._asked: Counter[bytes | str] = Counter()
        self._lock = threading.Lock()

    def answer(self, ask: Ask) -> Answer | Work:
        """Return what MAST would answer; all but refusals take a while and are work."""
        path = ask.path.rstrip("/")
        post = ask.method == "POST"
        if re.fullmatch(r"/api/v0(\.1)?/invoke", path):
            return lambda: _json(self._invoke(ask))
        if path == "/portal/Mashup/Mashup.asmx/columnsconfig":
            return lambda: _json(_columns_config(_form(ask).get("colConfigId", [""])[0]))
        if ask.method not in {"GET", "HEAD"} and not (post and path.startswith(_MISSIONS)):
            return _refusal(405, f"{ask.method} is not allowed here")
        if path == "/api/v0.1/path_lookup":
            return lambda: _json(self._path_lookup(parse_qs(ask.query).get("uri", [])))
        if re.fullmatch(r"/api/v0(\.1)?/Download/file", path):
            return lambda: self._download(ask, parse_qs(ask.query).get("uri", [""])[0])
        if path == "/search/util/api/v0.1/column_list":
            return lambda: _json(missions.COLUMN_LIST)
        if path.startswith(_MISSIONS):
            return self._missions(ask, path.removeprefix(_MISSIONS))
        return _refusal(404, f"there is no service at {path}")

    # -- Mashup

    def _invoke(self, ask: Ask) -> Json:
        text = _form(ask).get("request", [""])[0]
        try:
            request = json.loads(text)
            service, params = str(request["service"]), request.get("params") or {}
        except (ValueError, TypeError, KeyError):
            return _error(f"Error parsing the request: {text[:200]!r}")
        if service == "Mast.Name.Lookup":
            return self._name_lookup(params)
        if self._still_executing(ask.body or ask.query):
            return {"status": "EXECUTING", "msg": ""}
        contents = self._catalog.contents()
        if service == "Mast.Caom.All":
            return _missions_there_are(contents)
        try:
            rows, columns = _query(service, params, contents)
            page, size = (_positive(request.get(name), usual) for name, usual in (("page", 1), ("pagesize", _PAGE)))
        except QueryMistake as error:
            return _error(str(error))
        if request.get("format", "json") != "json":
            return _error(f"the embedded archive answers in JSON alone, not in {request['format']!r}")
        answer = page_of(rows, columns, page, min(size, self._largest_page))
        return _without_null_columns(answer) if request.get("removenullcolumns") else answer

    def _still_executing(self, request: bytes | str) -> bool:
        """Tell whether this very request is to be asked again; the real service holds it while the query runs."""
        if not self._executing:
            return False
        with self._lock:
            self._asked[request] += 1
            return self._asked[request] <= self._executing

    def _name_lookup(self, params: Json) -> Json:
        name = str(params.get("input", ""))
        place = self._catalog.contents().places.get(plain_name(name))
        found = {
            "searchString": name.lower(),
            "resolver": "LOCAL",
            "cached": True,
            "resolverTime": 0,
            "searchRadius": -1.0,
        }
        if place is None:
            return {"resolvedCoordinate": [], "status": ""}
        found |= {"canonicalName": place.name, "ra": place.ra, "decl": place.dec}
        return {"resolvedCoordinate": [found], "status": ""}

    # -- files

    def _path_lookup(self, uris: list[str]) -> Json:
        contents = self._catalog.contents()
        paths = {uri: _on_premises(contents.uris.get(uri)) for uri in uris}
        return {uri: {"status_code": 200 if path else 404, "path": path} for uri, path in paths.items()}

    def _download(self, ask: Ask, uri: str) -> Answer:
        contents = self._catalog.contents()
        row, path = contents.uris.get(uri), contents.files.get(uri)
        if row is not None and row["dataRights"] != "PUBLIC":
            return _refusal(401, f"{uri} is not public: a token is needed")
        if row is None or path is None:
            return _refusal(404, f"there is no file {uri!r}")
        try:
            stored = self._folder.find(str(path))
        except FileNotFoundError:
            return _refusal(404, f"the file of {uri!r} is gone")
        assert stored is not None
        answer = object_answer(ask, stored)
        if answer.status in {200, 206}:
            answer.headers["Content-Type"] = "application/octet-stream"
            answer.headers["Content-Disposition"] = f'attachment; filename="{path.name}"'
        return answer

    # -- the Missions search

    def _missions(self, ask: Ask, service: str) -> Answer | Work:
        query = parse_qs(ask.query)
        if service == "retrieve_product":
            filename = query.get("product_name", [""])[0].rpartition("/")[2].lower()
            return lambda: self._download(ask, f"mast:HST/product/{filename}")
        services: dict[str, Callable[[Any, Contents], Json]] = {
            "search": missions.search,
            "list_products": missions.list_products,
            "post_list_products": missions.list_products,
        }
        if service not in services:
            return _refusal(404, f"there is no service {service!r}")

        def work() -> Answer:
            try:
                given = json.loads(ask.body) if ask.method == "POST" else missions.from_query(query)
                return _json(services[service](given, self._catalog.contents()))
            except (QueryMistake, ValueError) as error:
                return _refusal(400, str(error))

        return work


def _query(service: str, params: Json, contents: Contents) -> tuple[list[Row], dict[str, Column] | None]:
    """Return the rows and the columns that a Caom service answers with."""
    with_distance = OBSERVATION | {DISTANCE.name: DISTANCE}
    if service == "Mast.Caom.Cone":
        return around(
            contents.observations, *_position([params.get(k) for k in ("ra", "dec", "radius")])
        ), with_distance
    if service == "Mast.Caom.Filtered":
        columns = select(params.get("columns"), OBSERVATION)
        return filtered(contents.observations, params.get("filters", []), OBSERVATION), columns
    if service == "Mast.Caom.Filtered.Position":
        columns = select(params.get("columns"), with_distance)
        position = _position(str(params.get("position", "")).split(","))
        return around(filtered(contents.observations, params.get("filters", []), OBSERVATION), *position), columns
    if service == "Mast.Caom.Products":
        asked = [one.strip() for one in str(params.get("obsid", "")).split(",")]
        found = [row | {"parent_obsid": one} for one in dict.fromkeys(asked) for row in contents.products.get(one, [])]
        return found, PRODUCT
    message = f"Service '{service}' not found."
    raise QueryMistake(message)


def _position(values: list[Any]) -> tuple[float, float, float]:
    try:
        ra, dec, radius = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        message = f"Error converting the position: expected 'ra, dec, radius' in degrees, found {values!r}"
        raise QueryMistake(message) from error
    return ra, dec, radius


def _positive(value: Any, usual: int) -> int:
    if value is None:
        return usual
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        message = f"Error converting {value!r}: expected a positive number"
        raise QueryMistake(message)
    return number


def _error(message: str) -> Json:
    return {"status": "ERROR", "msg": message, "data": None, "fields": None, "paging": None}


def _columns_config(service: str) -> Json:
    """Return the description of a service's columns; nothing for services that there are not."""
    if service == "Mast.Caom.Products":
        return dict(configuration(PRODUCT))
    if service.startswith("Mast.Caom."):
        return dict(configuration(OBSERVATION | {DISTANCE.name: DISTANCE}))
    return {}


def _without_null_columns(answer: Json) -> Json:
    kept = [f for f in answer["fields"] if any(row[f["name"]] is not None for row in answer["data"])]
    names = [f["name"] for f in kept]
    return answer | {"fields": kept, "data": [{name: row[name] for name in names} for row in answer["data"]]}


def _missions_there_are(contents: Contents) -> Json:
    """Return the answer of Mast.Caom.All, in the format "extjs": no rows, a histogram for some columns."""
    columns = []
    for name in ("obs_collection", "instrument_name", "dataproduct_type"):
        counts = Counter(str(row[name]) for row in contents.observations if row[name] is not None)
        bars = {key: {"count": count, "key": key} for key, count in sorted(counts.items())}
        properties = {"histObj": {"hist": list(bars.values()), **bars}, "vot.name": name}
        columns.append({"text": name, "dataIndex": name, "ExtendedProperties": properties})
    paging = dict.fromkeys(("page", "pageSize", "pagesFiltered", "rows", "rowsFiltered", "rowsTotal"), 0)
    fields = [{"name": column.name, "type": column.kind} for column in OBSERVATION.values()]
    table = {
        "name": "Table",
        "ExtendedProperties": {"Paging": paging},
        "Columns": columns,
        "Fields": [*fields, {"name": "_selected_", "type": "boolean"}],
        "Rows": [],
    }
    data = {"name": "NewDataSet", "Tables": [table], "ExtendedProperties": {}}
    return {"status": "COMPLETE", "msg": "", "data": data}


def _on_premises(row: Row | None) -> str | None:
    """Return where MAST keeps a product: for pipeline products the key, for HAP a folder that the bucket lacks."""
    if row is None:
        return None
    filename, obs_id = str(row["productFilename"]), str(row["obs_id"])
    try:
        key = key_of(parse_filename(filename), obs_id)
    except ProductNameError:
        return None
    if key:
        return f"/{key}"
    visit = re.match(r"hst_[a-z0-9]+_[a-z0-9]+", filename)
    program = re.search(r"_([a-z0-9]{4})[a-z0-9]{2,5}$", obs_id)
    return f"/hap/public/{program[1]}/{visit[0]}/{filename}" if visit and program else None


def _form(ask: Ask) -> dict[str, list[str]]:
    """Return the fields of a request, which MAST takes from a posted form as from the address."""
    return parse_qs(ask.body.decode("utf-8", "replace") or ask.query, keep_blank_values=True)


def _json(value: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


def _refusal(status: int, message: str) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode())
