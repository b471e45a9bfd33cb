"""Which exposures an association was made of, and which association an exposure belongs to.

Three things tell, and each has its limits:

- The name. A product within an association (last character 1 to 9 or a to e) has the association's name with a 0 in
  that place. No more: an exposure's name tells its visit, which may hold several associations, and an association's
  name none of its exposures (jbevetdqq belongs to jbevet010). HST Data Handbook 2.2, table 2.1.
- The association table, ``ipppssoo0_asn.fits``: MEMNAME, MEMTYPE and MEMPRSNT (HST Data Handbook 2.3). It is the
  pipeline's own list.
- Keyword ASN_ID of the exposure's primary headers. COS's acquisitions name an association that does not list them.

MAST's answers list an association's files with those of its members, and their ``parent_obsid`` is the observation that
was asked for, or 0; so they tell the parents of what was asked for together, and no list of members that is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal, NamedTuple, TypeAlias

from astropy.table import Table

from hst_cloud.archive.inputs import ProductsLike, as_product, as_products
from hst_cloud.archive.names import SOURCES, dataset_folder, is_rootname
from hst_cloud.archive.session import Watcher
from hst_cloud.archive.tables import text_column, texts
from hst_cloud.cost.budgets import counted
from hst_cloud.errors import HSTCloudError
from hst_cloud.fits.columns import Form, decode
from hst_cloud.fits.index import IndexLike, as_index
from hst_cloud.fits.layout import HDUExtent, Scan
from hst_cloud.fits.tables import Tables, read_tables
from hst_cloud.science.headers import FILENAME, headers
from hst_cloud.science.many import recalled
from hst_cloud.store.adapters import StoreLike, as_store
from hst_cloud.store.objects import Piece, Store
from hst_cloud.store.plan import Plan
from hst_cloud.store.policy import S3
from hst_cloud.values import ByteRange, Product, Progress

__all__ = ["Relation", "members", "parents"]

Relation: TypeAlias = Literal["listed", "absent", "header", "name", "mast", "none", "unknown"]
"""How a relation is known.

``listed``: the association table has it. ``absent``: it has it as not taken. ``header``: ASN_ID says so. ``name``: by
rule. ``mast``: MAST listed the file with the association's. ``none``: there is none. ``unknown``: nothing told.
"""

_COLUMNS = ("MEMNAME", "MEMTYPE", "MEMPRSNT")
_DESCRIPTIONS = {
    "association": "The association",
    "member": "The exposure, or the product within the association",
    "obs_id": "Observation that was looked for, as MAST names it",
    "role": "MEMTYPE or ASN_MTYP: what the member was taken for",
    "status": "How the relation is known",
    "reason": "Why there is none, or why it is not known",
}


class _Row(NamedTuple):
    association: str
    member: str
    obs_id: str
    role: str
    status: Relation
    reason: str


def members(
    products: ProductsLike,
    *,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    progress: Watcher | None = None,
) -> Table:
    """List the exposures that associations were made of, as their association tables have them.

    Parameters
    ----------
    products : Table, Row, Product, str, or a list that mixes them
        Associations by name (``"jbevet010"``), or any of their files: see `hst_cloud.resolve`.
    store, index, in_flight
        As for `~hst_cloud.headers`.
    progress : callable, optional
        Receives a `hst_cloud.values.Progress` after each association table.

    Returns
    -------
    Table
        One row for each member, by association in the order given, and one for each input that has none:

        ``association``, ``member``, ``role``
            names in lower case; MEMTYPE. Rows of the table that stand for what is made of the members are left out.
        ``obs_id``
            the member again, so that `hst_cloud.products` takes this table.
        ``status``
            ``listed``; ``absent`` (it was planned and is not there); ``none`` (the input is an exposure); ``unknown``.
        ``reason``
            why there is no member, or none known.

    Raises
    ------
    ProductNameError
        Something is of a type, or a table has columns, that cannot name a product.

    Notes
    -----
    Requests: one for each association (11 kB); none for the names that are not of any. A table that cannot be read has
    a row with status ``unknown``.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> found = hst.members("jzdm01011_drc.fits")
    >>> for row in found:
    ...     print(row["association"], row["member"], row["role"], row["status"])
    jzdm01010 jzdm01aaq EXP-DTH listed
    jzdm01010 jzdm01acq EXP-DTH listed
    >>> print(*hst.products(found, suffix="flc")["productFilename"])
    jzdm01aaq_flc.fits jzdm01acq_flc.fits
    """
    source = as_store(store)
    known = dict.fromkeys(_name(product) for product in as_products(products))
    tables = [as_product(f"{name}_asn.fits") for name, _ in known if name.endswith("0")]
    results = recalled(tables, lambda _: _listed, store=source, index=as_index(index, source), in_flight=in_flight)
    found: dict[str, list[_Row]] = {}
    with closing(results), counted() as spent:
        for done, (product, result) in enumerate(results, 1):
            found[product.obs_id] = _rows_of(product.obs_id, result)
            if progress is not None:
                progress(Progress(what="associations", done=done, total=len(tables)))
    rows = [row for name, reason in known for row in found.get(name) or [_no_association(name, reason)]]
    return _table(rows, source, spent)


def parents(
    products: ProductsLike,
    *,
    store: StoreLike = None,
    index: IndexLike = True,
    in_flight: int = S3.in_flight,
    progress: Watcher | None = None,
) -> Table:
    """List the associations that exposures belong to.

    Parameters
    ----------
    products : Table, Row, Product, str, or a list that mixes them
        Exposures by name, of which the ``spt`` is read, or any of their files, or what `hst_cloud.products` returned.
    store, index, in_flight, progress
        As for `~hst_cloud.headers`.

    Returns
    -------
    Table
        The columns of `hst_cloud.members`, with the association in ``obs_id``: one row for each exposure and its
        association, each once, in the order given. ``status``: ``name`` (a product within the association), ``mast``
        (MAST lists it with the association in the table given), ``header`` (ASN_ID), ``none`` (it says NONE, or it is
        an association), ``unknown``.

    Raises
    ------
    ProductNameError
        Something is of a type, or a table has columns, that cannot name a product.

    Warns
    -----
    HSTCloudWarning
        Headers could not be read; these have status ``unknown``.

    Notes
    -----
    Requests: one for each exposure whose name and whose row do not tell.

    Examples
    --------
    On the demonstration archive of `hst_cloud.testing`:

    >>> import hst_cloud as hst
    >>> for row in hst.parents(["jzdm01aaq_flc.fits", "jzdm01011_drc.fits", "jzdm02c1q"]):
    ...     print(row["member"], row["association"] or "-", row["status"])
    jzdm01aaq jzdm01010 header
    jzdm01011 jzdm01010 name
    jzdm02c1q - none
    """
    source = as_store(store)
    told = _told_by_mast(products)
    rows: dict[str, list[_Row]] = {}
    asked: dict[str, Product] = {}
    for product in as_products(products):
        name, reason = _member(product)
        by_rule = _parent_by_rule(name, reason, told)
        if by_rule:
            rows[name or reason] = by_rule
        elif name not in asked or not asked[name].key.endswith(".fits"):
            rows[name] = []  # its place in the order
            asked[name] = product if product.filename.endswith(".fits") else as_product(f"{name}_spt.fits")
    spent = {"requests": 0, "bytes": 0}
    if asked:
        read = headers(
            list(asked.values()), ["ASN_ID", "ASN_MTYP"], store=source, index=index, in_flight=in_flight,
            on_error="mask", progress=progress,
        )  # fmt: skip
        spent = {name: read.meta[name] for name in spent}
        columns = (read[name].tolist() for name in (FILENAME, "ASN_ID", "ASN_MTYP"))
        for name, file, association, role in zip(asked, *columns, strict=True):
            rows[name] = [_parent_in_header(name, association, role, read.meta["errors"].get(file, ""))]
    return _table([row for each in rows.values() for row in each], source, spent)


# --- Members ---------------------------------------------------------------------------------------------------------


def _listed(found: Scan) -> Plan[ByteRange, Piece, Tables]:
    """Read the association table of a file."""

    def choose(_number: int, _extent: HDUExtent, form: Form) -> tuple[str, ...] | None:
        return _COLUMNS if set(_COLUMNS) <= set(form.names) else None

    return (yield from read_tables(found, choose))


def _rows_of(association: str, result: Tables | HSTCloudError) -> list[_Row]:
    if isinstance(result, HSTCloudError):
        return [_Row(association, "", "", "", "unknown", str(result))]
    if not result.tables:
        return [_Row(association, "", "", "", "unknown", f"{result.layout.key} holds no association table")]
    columns = decode(result.tables[0])
    rows = []
    for name, role, present in zip(*(columns[name].tolist() for name in _COLUMNS), strict=True):
        member, kind = _word(name).lower(), _word(role)
        if is_rootname(member) and not kind.startswith("PROD"):
            status: Relation = "listed" if present else "absent"
            reason = "" if present else "the association table says that it is not there"
            rows.append(_Row(association, member, dataset_folder(member) or member, kind, status, reason))
    return rows or [_Row(association, "", "", "", "none", "the association table lists no exposure")]


def _word(value: object) -> str:
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip()


def _no_association(name: str, reason: str) -> _Row:
    if not name:
        return _Row("", "", "", "", "unknown", reason)
    return _Row("", name, "", "", "none", f"{name} is an exposure; hst_cloud.parents tells its association")


# --- Parents ---------------------------------------------------------------------------------------------------------


def _parent_by_rule(name: str, reason: str, told: Mapping[str, Iterable[str]]) -> list[_Row]:
    """Return what is known without a look; nothing where the header must tell."""
    if not name:
        return [_Row("", "", "", "", "unknown", reason)]
    folder = dataset_folder(name)
    if folder != name:
        return [_Row(folder, name, folder, "", "name", "")]
    if name[-1] not in SOURCES:
        return [_Row("", name, "", "", "none", f"{name} is an association")]
    return [_Row(parent, name, parent, "", "mast", "") for parent in told.get(name, ())]


def _parent_in_header(name: str, association: object, role: object, error: str) -> _Row:
    said = _word(association or "").lower()
    if is_rootname(said):
        return _Row(said, name, said, _word(role or ""), "header", "")
    if said in {"none", "n/a"}:
        return _Row("", name, "", "", "none", "its header says that it is in no association")
    return _Row("", name, "", "", "unknown", error or "its primary header has no ASN_ID")


def _told_by_mast(products: object) -> dict[str, dict[str, None]]:
    """Return the parents that a table of products tells: those that are among its own observations."""
    found: dict[str, dict[str, None]] = {}
    if isinstance(products, Table) and {"obsID", "obs_id", "parent_obsids"} <= set(products.colnames):
        ids, names = texts(products, "obsID"), [name.lower() for name in texts(products, "obs_id")]
        known = dict(zip(ids, names, strict=True))
        for own, name, asked in zip(ids, names, texts(products, "parent_obsids"), strict=True):
            for parent in asked.split(";"):
                if parent != own and is_rootname(known.get(parent, "")):
                    found.setdefault(name, {})[known[parent]] = None
    return found


# --- Both ------------------------------------------------------------------------------------------------------------


def _member(product: Product) -> tuple[str, str]:
    """Return the rootname that a product's name begins with, or an empty text and the reason."""
    name = product.filename[:9].lower() if product.filename else product.obs_id
    if not is_rootname(name):
        return "", product.reason or f"{product.filename or product.obs_id!r} is no exposure and no association"
    if not dataset_folder(name):  # jitter of a single exposure, which its obs_id may tell
        name = product.obs_id
        return (name, "") if name else ("", product.reason)
    return name, ""


def _name(product: Product) -> tuple[str, str]:
    """Return the observation that a product is of, as for `_member`."""
    name, reason = _member(product)
    return (dataset_folder(name) if name else ""), reason


def _table(rows: Iterable[_Row], store: Store, spent: Mapping[str, int]) -> Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(_Row._fields)
    table = Table()
    for name, values in zip(_Row._fields, columns, strict=True):
        table[name] = text_column(values, name, _DESCRIPTIONS[name])
    table.meta = {
        "service": "GetObject",
        "endpoint": store.address("").rstrip("/"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"hst_cloud": version("hst-cloud"), "astropy": version("astropy")},
        **spent,
    }
    return table
