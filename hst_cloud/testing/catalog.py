"""MAST's catalog of the files in a folder, made of their names and headers, and of rows given beside them.

Every folder ``hst/public/ippp/ipppssoot/`` is one observation. One file of it, the most processed, describes it;
an association's members are those that its table names or that name it. Files may come and go: each look at the
catalog compares the folder with what was read of it, and reads headers only of what is new.

The folder's ``catalog.json`` adds what no header tells and no file is there for::

    {"observations": [{"obs_id": "jbqf03010", "dataRights": "EXCLUSIVE_ACCESS"},
                      {"obs_id": "hst_12058_11_wfc3_uvis_f275w_ibf311", "s_ra": 11.2, "s_dec": 41.9, ...}],
     "products": [{"dataURI": "mast:HST/product/hst_12058_11_wfc3_uvis_f275w_ibf311_drc.fits",
                   "obs_id": "hst_12058_11_wfc3_uvis_f275w_ibf311", "parents": ["ibf311010"], "size": 383693760}],
     "names": {"M 51": [202.469575, 47.195258]}}

Rows have MAST's columns. A row whose ``obs_id`` or ``dataURI`` is that of a file changes the columns that it names;
any other row is added, with the usual values where it names none. ``parents`` are the observations in whose lists
of products a file stands beside its own.
"""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

from hst_cloud.archive.instruments import instrument_of, suffixes_of
from hst_cloud.archive.names import PREFIX, dataset_folder, parse_filename
from hst_cloud.errors import ProductNameError
from hst_cloud.testing.columns import OBSERVATION, PRODUCT, Cell, Row
from hst_cloud.testing.facts import members_of, observation_facts
from hst_cloud.testing.files import CATALOG, ELSEWHERE, Folder

__all__ = ["Catalog", "Contents", "Place", "plain_name"]

# The files that describe an observation best come first.
_ORDER = (
    *("drc", "drz", "crc", "crj", "x1dsum", "sx1", "sx2", "flc", "flt", "flt_a", "flt_b", "x1d", "x2d", "ima"),
    *("corrtag", "corrtag_a", "corrtag_b", "counts", "counts_a", "counts_b", "raw", "rawtag", "rawtag_a", "rawtag_b"),
    *("rawaccum", "rawaccum_a", "rawaccum_b", "rawacq", "tag", "a1f", "a2f", "a3f", "asn", "spt", "dmf"),
)
_SUFFIXES = suffixes_of()
_RANKS = {suffix: rank for rank, suffix in enumerate(_ORDER)}
_AUXILIARY = frozenset({"spt", "asn", "trl", "jit", "jif", "pdq", "log", "dmf", "hlet", "flt_hlet", "flc_hlet"})

# Positions of targets of the demonstrations, ICRS (SIMBAD); names in headers come first.
_KNOWN = {
    "M 31": (10.684708, 41.268750),
    "M 51": (202.469575, 47.195258),
    "M 101": (210.802267, 54.348950),
    "NGC 1068": (40.669629, -0.013281),
    "NGC 4151": (182.635745, 39.405730),
    "NGC 6752": (287.717125, -59.984556),
}


class _File(NamedTuple):
    path: Path
    suffix: str
    size: int
    stamp: tuple[str, int, int]


class _Extra(TypedDict, total=False):
    observations: list[Row]
    products: list[dict[str, Cell | list[str]]]
    names: dict[str, tuple[float, float]]


class Place(NamedTuple):
    """A name and where it is on the sky."""

    name: str
    """As the archive writes it."""
    ra: float
    """Degrees, ICRS."""
    dec: float
    """Degrees, ICRS."""


@dataclass(slots=True)
class Contents:
    """What the catalog holds at one moment."""

    observations: list[Row] = field(default_factory=list)
    """Rows in order of ``obs_id``."""
    products: dict[str, list[Row]] = field(default_factory=dict)
    """For each ``obsid`` the rows of the observation and of its members, without ``parent_obsid``."""
    members: dict[str, list[str]] = field(default_factory=dict)
    """For each association's ``obs_id`` those of its members."""
    files: dict[str, Path] = field(default_factory=dict)
    """Where each ``dataURI`` lies in the folder, if it does."""
    uris: dict[str, Row] = field(default_factory=dict)
    """The row of each ``dataURI``."""
    places: dict[str, Place] = field(default_factory=dict)
    """Names that can be looked up, as `plain_name` writes them."""
    modes: dict[str, Row] = field(default_factory=dict)
    """What headers tell beside the columns, by ``obs_id``."""


class Catalog:
    """The catalog of a folder, read when first asked for. May be used by several threads."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, int, int], Row] = {}
        self._members: dict[tuple[str, int, int], list[str]] = {}
        self._seen: object = None
        self._contents = Contents()

    def contents(self) -> Contents:
        """Return what the folder holds now; headers are read only of what is new.

        Raises
        ------
        ValueError
            The folder's ``catalog.json`` is not as this module describes.
        """
        with self._lock:
            groups = self._groups()
            extra = Path(self._folder.root, CATALOG)
            written = (extra.stat().st_mtime_ns, extra.stat().st_size) if extra.is_file() else None
            seen = (written, {name: [file.stamp for file in files] for name, files in groups.items()})
            if seen != self._seen:
                self._contents = self._build(groups, _extra(extra) if written else {})
                self._seen = seen
            return self._contents

    def _groups(self) -> dict[str, list[_File]]:
        """Return the files of each observation, by its name."""
        groups: dict[str, list[_File]] = {}
        for key, path in sorted(self._folder.walk(f"{PREFIX}/")):
            parts = key.split("/")
            if len(parts) != 5:
                continue
            try:
                name = parse_filename(parts[4])
            except ProductNameError:
                continue
            if name.collection == "CAL":
                status = Path(path).stat()
                stamp = (path, status.st_mtime_ns, status.st_size)
                groups.setdefault(parts[3], []).append(_File(Path(path), name.suffix, status.st_size, stamp))
        return groups

    def _build(self, groups: dict[str, list[_File]], extra: _Extra) -> Contents:
        found = Contents()
        rows: dict[str, Row] = {}
        for obs_id, files in groups.items():
            facts = self._facts_of(obs_id, files)
            rows[obs_id] = _observation(obs_id, files, facts)
            found.modes[obs_id] = facts
        for given in extra.get("observations", []):
            obs_id = str(given["obs_id"])
            rows[obs_id] = (rows.get(obs_id) or _blank(obs_id)) | given
        _number(rows)
        found.observations = [rows[obs_id] for obs_id in sorted(rows)]
        found.members = self._members_of(groups, found.modes)
        for owner, members in found.members.items():
            _complete(rows[owner], [rows[member] for member in members])
        own: dict[str, list[Row]] = {}
        for obs_id, files in groups.items():
            composite = bool(found.members.get(obs_id))
            for file in files:
                product = _product(file, rows[obs_id], found.modes[obs_id], composite=composite)
                own.setdefault(obs_id, []).append(product)
                found.files[str(product["dataURI"])] = file.path
        beside = _add(extra.get("products", []), rows, own, found.files, Path(self._folder.root, ELSEWHERE))
        for obs_id, row in rows.items():
            lists = [own.get(one, []) for one in [obs_id, *found.members.get(obs_id, [])]]
            found.products[str(row["obsid"])] = [p for products in [*lists, beside.get(obs_id, [])] for p in products]
        found.uris = {str(p["dataURI"]): p for products in [*own.values(), *beside.values()] for p in products}
        found.places = _places(found.observations, extra.get("names", {}))
        return found

    def _facts_of(self, obs_id: str, files: list[_File]) -> Row:
        """Return what the headers of the most telling file say."""
        tables = [file for file in files if file.path.name.endswith((".fits", ".fits.gz"))]
        best = min(tables, key=lambda file: (_RANKS.get(file.suffix, len(_RANKS)), file.path.name), default=None)
        if best is None:
            return observation_facts(obs_id, None)
        if best.stamp not in self._facts:
            self._facts[best.stamp] = observation_facts(obs_id, best.path)
        return self._facts[best.stamp]

    def _members_of(self, groups: dict[str, list[_File]], facts: dict[str, Row]) -> dict[str, list[str]]:
        members: dict[str, set[str]] = {}
        for obs_id, files in groups.items():
            for file in files:
                if file.suffix == "asn":
                    if file.stamp not in self._members:
                        self._members[file.stamp] = members_of(file.path)
                    members.setdefault(obs_id, set()).update(self._members[file.stamp])
            owner = str(facts[obs_id].get("asn_id") or "")
            if owner in groups:
                members.setdefault(owner, set()).add(obs_id)
        return {owner: sorted(m for m in names if m in groups and m != owner) for owner, names in members.items()}


def plain_name(name: str) -> str:
    """Return `name` so that spellings of one target agree: ``M 51``, ``m51``, ``MESSIER-051``."""
    plain = re.sub(r"[\s_-]+", "", name.casefold())
    plain = re.sub(r"^messier", "m", plain)
    return re.sub(r"^(m|ngc|ic)0+(?=\d)", r"\1", plain)


def _extra(path: Path) -> _Extra:
    """Read ``catalog.json``.

    Raises
    ------
    ValueError
        It is not as this module describes.
    """
    try:
        extra = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path} is no JSON: {error}"
        raise ValueError(message) from error
    shape = isinstance(extra, dict) and all(
        isinstance(extra.get(name, kind()), kind)
        for name, kind in (("observations", list), ("products", list), ("names", dict))
    )
    if not shape:
        message = f"{path} must be an object with the arrays 'observations', 'products' and the object 'names'"
        raise ValueError(message)
    for rows, needed, columns in (
        (extra.get("observations", []), "obs_id", OBSERVATION.keys()),
        (extra.get("products", []), "dataURI", PRODUCT.keys() | {"parents"}),
    ):
        for row in rows:
            unknown = sorted(row.keys() - columns)
            if needed not in row or unknown:
                message = f"{path}: a row needs {needed!r} and MAST's columns alone; found {unknown or sorted(row)}"
                raise ValueError(message)
    return cast("_Extra", extra)


def _blank(obs_id: str) -> Row:
    """Return an observation of which nothing but its name is known."""
    row: Row = dict.fromkeys(OBSERVATION)
    row |= {"intentType": "science", "obs_collection": "HST", "project": "HST", "calib_level": 3, "obs_id": obs_id}
    return row | {"dataproduct_type": "image", "dataRights": "PUBLIC", "mtFlag": False}


def _observation(obs_id: str, files: list[_File], facts: Row) -> Row:
    """Return the row of an observation that has files."""
    science = [file for file in files if file.path.name.endswith((".fits", ".fits.gz"))]
    best = min(science, key=lambda file: (_RANKS.get(file.suffix, len(_RANKS)), file.path.name), default=None)
    pictures = [file.path.name for file in files if file.path.suffix in {".jpg", ".png"} and "thumb" not in file.suffix]
    row = _blank(obs_id) | {name: value for name, value in facts.items() if name in OBSERVATION}
    row["calib_level"] = max((_SUFFIXES[f.suffix].level for f in science if f.suffix in _SUFFIXES), default=1)
    row["dataURL"] = f"mast:HST/product/{best.path.name}" if best else None
    row["jpegURL"] = f"mast:HST/product/{pictures[0]}" if pictures else None
    return row


def _complete(row: Row, members: list[Row]) -> None:
    """Fill what the files of an association do not tell from those of its members."""
    for name in OBSERVATION:
        if row[name] is None and name not in {"jpegURL", "obsid", "objID"}:
            row[name] = next((member[name] for member in members if member[name] is not None), None)


def _number(rows: dict[str, Row]) -> None:
    """Give every observation that has none a number: the same one in every archive, unless two names collide."""
    taken = {str(row["obsid"]) for row in rows.values() if row["obsid"] is not None}
    for obs_id in sorted(rows):
        row = rows[obs_id]
        if row["obsid"] is None:
            number = 20_000_000 + zlib.crc32(obs_id.encode()) % 80_000_000
            while str(number) in taken:
                number += 1
            taken.add(str(number))
            row["obsid"] = str(number)
        row["obsid"] = str(row["obsid"])
        if row["objID"] is None:
            row["objID"] = f"9{row['obsid']}"


def _product(file: _File, row: Row, facts: Row, *, composite: bool) -> Row:
    """Return the row of a file of the observation `row`."""
    filename, suffix = file.path.name, file.suffix
    kind = _SUFFIXES.get(suffix)
    instrument = str(row["instrument_name"] or "")
    picture = filename.endswith((".jpg", ".png"))
    if picture:
        use, what = ("THUMBNAIL", "Thumbnail") if "thumb" in suffix else ("PREVIEW", "Preview-Full")
        level = row["calib_level"]
    else:
        use = "AUXILIARY" if suffix in _AUXILIARY or kind is None else "SCIENCE"
        what = f"DADS {suffix.upper()} file - {kind.meaning if kind else 'see the data handbook'} {instrument}".rstrip()
        level = kind.level if kind else 1
    recommended = use == "SCIENCE" and level == row["calib_level"]
    return {
        "obsID": row["obsid"],
        "obs_collection": row["obs_collection"],
        "dataproduct_type": row["dataproduct_type"],
        "obs_id": row["obs_id"],
        "description": what,
        "type": "C" if composite else "S",
        "dataURI": f"mast:HST/product/{filename}",
        "productType": use,
        "productGroupDescription": "Minimum Recommended Products" if recommended else None,
        "productSubGroupDescription": None if picture else suffix.upper() or None,
        "productDocumentationURL": None,
        "project": row["provenance_name"],
        "prvversion": facts.get("version"),
        "proposal_id": row["proposal_id"],
        "productFilename": filename,
        "size": file.size,
        "dataRights": row["dataRights"],
        "calib_level": level,
        "filters": row["filters"],
    }


def _add(
    given: Iterable[dict[str, Cell | list[str]]],
    rows: dict[str, Row],
    own: dict[str, list[Row]],
    files: dict[str, Path],
    elsewhere: Path,
) -> dict[str, list[Row]]:
    """Put the products of ``catalog.json`` among those of the files; return those that stand beside, by observation."""
    beside: dict[str, list[Row]] = {}
    known = {str(product["dataURI"]): product for products in own.values() for product in products}
    for entry in given:
        parents = entry.get("parents", [])
        cells: Row = {name: value for name, value in entry.items() if not isinstance(value, list)}
        uri = str(cells["dataURI"])
        if uri in known:
            known[uri].update(cells)
            product = known[uri]
        else:
            product = _given(cells, rows)
            own.setdefault(str(product["obs_id"]), []).append(product)
        filename = str(product["productFilename"])
        if uri not in files and "/" not in filename and (elsewhere / filename).is_file():
            files[uri] = elsewhere / filename
        for parent in parents if isinstance(parents, list) else []:
            beside.setdefault(parent, []).append(product)
    return beside


def _given(cells: Row, rows: dict[str, Row]) -> Row:
    """Return the row of a product that is not among the files."""
    uri = str(cells["dataURI"])
    filename = str(cells.get("productFilename") or re.split(r"[/=]", uri)[-1])
    stem = filename.partition(".")[0]
    derived = stem.startswith("hst_")
    suffix = stem.rpartition("_")[2] if derived else stem.partition("_")[2]
    obs_id = str(cells.get("obs_id") or (stem.rpartition("_")[0] if derived else dataset_folder(stem[:9])))
    row = rows.get(obs_id) or {}
    project = "HAP-MVM" if "skycell" in stem else "HAP-SVM" if derived else f"CAL{instrument_of(stem)}"
    usual: Row = {
        "obsID": row.get("obsid") or str(20_000_000 + zlib.crc32(obs_id.encode()) % 80_000_000),
        "obs_collection": "HLA" if uri.startswith("mast:HLA/") else "HST",
        "dataproduct_type": row.get("dataproduct_type") or "image",
        "obs_id": obs_id,
        "description": "HAP fits science image" if derived else f"DADS {suffix.upper()} file",
        "type": "D" if derived else "S",
        "productType": "AUXILIARY" if suffix in _AUXILIARY else "SCIENCE",
        "productSubGroupDescription": suffix.upper() or None,
        "project": "HLA" if uri.startswith("mast:HLA/") else project,
        "proposal_id": row.get("proposal_id"),
        "productFilename": filename,
        "dataRights": row.get("dataRights") or "PUBLIC",
        "calib_level": _SUFFIXES[suffix].level if suffix in _SUFFIXES else row.get("calib_level") or 3,
        "filters": row.get("filters"),
    }
    return {name: None for name in PRODUCT if name != "parent_obsid"} | usual | cells


def _places(observations: list[Row], given: dict[str, tuple[float, float]]) -> dict[str, Place]:
    found = {plain_name(name): Place(name, ra, dec) for name, (ra, dec) in _KNOWN.items()}
    for row in observations:
        name, ra, dec = row["target_name"], row["s_ra"], row["s_dec"]
        if isinstance(name, str) and isinstance(ra, float) and isinstance(dec, float):
            found[plain_name(name)] = Place(name, ra, dec)
    return found | {plain_name(name): Place(name, float(ra), float(dec)) for name, (ra, dec) in given.items()}
