"""From what a user gives as observations to the ids that MAST takes, and from its product lists to the chosen rows.

All of it is pure: `hst_cloud.archive.mast` sends and receives between the two halves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from astropy.table import Row, Table

from hst_cloud.archive.instruments import INSTRUMENTS, instrument_of, suffixes_of
from hst_cloud.archive.names import Collection, is_rootname, parse_filename
from hst_cloud.archive.places import collection_of, place
from hst_cloud.archive.quantities import as_words, nearest
from hst_cloud.archive.tables import text_column, texts
from hst_cloud.errors import ProductNameError, QueryError

__all__ = ["Asked", "Choice", "asked", "choice", "chosen", "deduplicated", "placed"]

COLLECTIONS: tuple[Collection, ...] = ("CAL", "HAP", "HLA", "HLSP")
LEVELS = (-1, 0, 1, 2, 3, 4)
# MAST's "Products field descriptions", productType; and CAOM 2.4's ProductType, from which it takes the rest.
PRODUCT_TYPES = (
    "AUXILIARY",
    "BIAS",
    "CALIBRATION",
    "CATALOG",
    "DARK",
    "FLAT",
    "INFO",
    "NOISE",
    "PREVIEW",
    "SCIENCE",
    "THUMBNAIL",
    "WAVECAL",
    "WEIGHT",
)
_PICTURES = (".jpg", ".jpeg", ".png", ".gif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The observations that a user gave."""

    obsids: tuple[str, ...] = ()
    """MAST's ids, each once, in the order given."""
    obs_ids: tuple[str, ...] = ()
    """Names of observations whose ids have to be asked for, lower case."""
    instruments: frozenset[str] = frozenset()
    """Their instruments, where a table told."""
    rows: int = 0
    """How many observations were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which products a user wants; None stands for any."""

    suffix: tuple[str, ...] | None
    """Suffixes, lower case."""
    calib_level: tuple[int, ...] | None
    """The products' own calibration levels."""
    product_type: tuple[str, ...] | None
    """MAST's product types, upper case."""
    collection: tuple[Collection, ...]
    """Who made the products."""


def asked(observations: object) -> Asked:
    """Return what to ask MAST for, from a table, a row, an id, a name, or some of them.

    Raises
    ------
    QueryError
        There is nothing to ask for, or something that is no observation.
    """
    if isinstance(observations, (Table, Row)):
        return _asked_of_table(observations)
    if isinstance(observations, (str, Integral)) or not isinstance(observations, Iterable):
        observations = [observations]
    parts = [_asked_of_table(item) if isinstance(item, (Table, Row)) else _asked_of_word(item) for item in observations]
    found = Asked(
        obsids=tuple(dict.fromkeys(i for part in parts for i in part.obsids)),
        obs_ids=tuple(dict.fromkeys(i for part in parts for i in part.obs_ids)),
        rows=sum(part.rows for part in parts),
    )
    if not found.obsids and not found.obs_ids:
        message = "the list of observations is empty; give the table that search returned, a row of it, or obsids"
        raise QueryError(message)
    return found


def _asked_of_word(item: object) -> Asked:
    word = str(item).strip()
    if isinstance(item, (str, Integral)) and not isinstance(item, bool):
        if word.isascii() and word.isdigit() and int(word):
            return Asked(obsids=(word,), rows=1)
        if is_rootname(word) or (word.lower().startswith("hst_") and word.replace("-", "_").isidentifier()):
            return Asked(obs_ids=(word.lower(),), rows=1)
        if not word:
            return Asked()
    message = (
        f"{item!r} is no observation; give a table or a row that search returned, MAST's obsid such as '24799697', "
        "or an obs_id such as 'jbqf03010'"
    )
    raise QueryError(message)


def _asked_of_table(table: Table | Row) -> Asked:
    names = table.colnames
    instruments = frozenset(name.partition("/")[0].upper() for name in texts(table, "instrument_name"))
    rows = 1 if isinstance(table, Row) else len(table)
    if "obsid" in names:
        obsids = tuple(dict.fromkeys(i.strip() for i in texts(table, "obsid") if i.strip() not in {"", "0"}))
        if rows and not obsids:
            message = f"none of the {rows} observations has an obsid; give the table that search returned"
            raise QueryError(message)
        return Asked(obsids=obsids, instruments=instruments, rows=rows)
    for column in ("obs_id", "sci_data_set_name"):  # the latter is of MAST's Missions search
        if column in names and "dataURI" not in names:
            obs_ids = tuple(dict.fromkeys(i.strip().lower() for i in texts(table, column) if i.strip()))
            return Asked(obs_ids=obs_ids, instruments=instruments if column == "obs_id" else frozenset(), rows=rows)
    what = "is a table of products already; filter it, or give it to resolve" if "dataURI" in names else "has no obsid"
    message = f"the table given as observations {what} (its columns: {', '.join(names[:8])}, ...)"
    raise QueryError(message)


def deduplicated(table: Table, batches: Sequence[tuple[Sequence[str], int]]) -> Table:
    """Return the products of some answers, each once, with every observation that lists it in ``parent_obsids``.

    Parameters
    ----------
    table : Table
        The rows of all answers, one after the other.
    batches : sequence
        For each answer the ids asked for and the number of its rows.
    """
    uris, said, own = texts(table, "dataURI"), texts(table, "parent_obsid"), texts(table, "obsID")
    parents: dict[str, dict[str, None]] = {}
    first: dict[str, int] = {}
    row = 0
    for ids, rows in batches:
        known = frozenset(ids)
        for index in range(row, row + rows):
            name = uris[index] or f"row {index}"  # nothing tells that two nameless rows are the same
            first.setdefault(name, index)
            parents.setdefault(name, {})[_parent(said[index], own[index], known)] = None
        row += rows
    result = table[np.array(list(first.values()), dtype=int)]
    _set_texts(result, "parent_obsids", [";".join(p for p in parents[name] if p) for name in first])
    return result


def _parent(said: str, own: str, asked_for: frozenset[str]) -> str:
    """Return the observation that lists a product; MAST now and then says '0' (astroquery's issue 1797)."""
    if said not in {"", "0"}:
        return said
    if own in asked_for:
        return own
    return next(iter(asked_for)) if len(asked_for) == 1 else ""


def placed(table: Table) -> Table:
    """Return the products with ``key``, ``status`` and ``reason``, by rule alone."""
    columns = ("dataURI", "obs_id", "dataRights", "productFilename")
    rows = zip(*(texts(table, name) for name in columns), _collections(table), strict=True)
    places = [place(uri or filename, obs_id, rights, made) for uri, obs_id, rights, filename, made in rows]
    result = table.copy(copy_data=False)
    for index, name in enumerate(("key", "status", "reason")):
        _set_texts(result, name, [p[index] for p in places])
    return result


def _set_texts(table: Table, name: str, values: Sequence[str]) -> None:
    table.replace_column(name, text_column(values, name, table[name].description))


def _collections(table: Table) -> list[Collection]:
    columns = ("dataURI", "productFilename", "project", "obs_collection")
    return [collection_of(*row) for row in zip(*(texts(table, name) for name in columns), strict=True)]


def choice(
    suffix: str | Sequence[str] | None,
    calib_level: int | Sequence[int] | None,
    product_type: str | Sequence[str] | None,
    collection: str | Sequence[str] | None,
) -> Choice:
    """Return which products a user wants, with each word checked that can be checked before the products are known.

    Raises
    ------
    QueryError
        A collection, level or type that MAST does not have.
    """
    makers = COLLECTIONS if collection is None else tuple(w.upper() for w in as_words(collection, "collection"))
    if "ALL" in makers:
        makers = COLLECTIONS
    types = None if product_type is None else tuple(w.upper() for w in as_words(product_type, "product_type"))
    levels = None if calib_level is None else as_words(calib_level, "calib_level")
    checks = (("collection", makers, (*COLLECTIONS, "ALL")), ("product_type", types or (), PRODUCT_TYPES))
    for name, words, known in (*checks, ("calib_level", levels or (), tuple(map(str, LEVELS)))):
        for word in words:
            if word not in known:
                message = f"{name}={word!r} is none of MAST's; {nearest(word, known)}"
                raise QueryError(message)
    return Choice(
        suffix=None if suffix is None else tuple(_suffix_word(w) for w in as_words(suffix, "suffix")),
        calib_level=None if levels is None else tuple(map(int, levels)),
        product_type=types,
        collection=tuple(c for c in COLLECTIONS if c in makers),
    )


def _suffix_word(word: str) -> str:
    return word.lower().partition(".")[0].strip("_")


def check_suffixes(wanted: Choice, instruments: Iterable[str], present: Iterable[str] = ()) -> None:
    """Refuse a suffix that the instruments do not have, where their vocabulary is known.

    Parameters
    ----------
    wanted : Choice
        What is asked for.
    instruments : iterable of str
        Of the products; nothing is refused if one of them is not of the five.
    present : iterable of str
        Suffixes that there are, whatever the vocabulary says.

    Raises
    ------
    QueryError
        No such suffix.
    """
    names = tuple(sorted(set(instruments)))
    if wanted.suffix is None or wanted.collection != ("CAL",) or not all(name in INSTRUMENTS for name in names):
        return
    known = [*suffixes_of(names), *present]
    for word in wanted.suffix:
        if word not in known:
            whose = ", ".join(names) if names else "the five instruments"
            message = f"suffix={word!r} is no kind of file of {whose}; {nearest(word, known)}"
            raise QueryError(message)


def chosen(table: Table, wanted: Choice) -> tuple[Table, str]:
    """Return the products of a choice, and a note for the user where nothing matches, which lists what there is.

    A suffix names files of data: their previews (``jbqf03gjq_flc.jpg``) come with ``product_type="PREVIEW"`` alone.

    Raises
    ------
    QueryError
        A suffix that the products' instruments do not have.
    """
    made = _collections(table)
    table_of_makers = table[np.array([c in wanted.collection for c in made], dtype=bool)]
    if len(table) and not len(table_of_makers):
        there = _counted(made)
        return table_of_makers, (
            f"no product is of collection {' or '.join(wanted.collection)}; "
            f"there are {there}: ask for them by collection="
        )
    table = table_of_makers
    files = texts(table, "productFilename")
    files = files if any(files) else [uri.rpartition("/")[2] for uri in texts(table, "dataURI")]
    suffixes = [suffix_of(name) for name in files]
    previews = wanted.product_type is not None and {"PREVIEW", "THUMBNAIL"} & set(wanted.product_type)
    pictures = [name.lower().endswith(_PICTURES) and not previews for name in files]
    types, levels = [t.upper() for t in texts(table, "productType")], texts(table, "calib_level")
    present = [s for s, picture in zip(suffixes, pictures, strict=True) if s and not picture]
    check_suffixes(wanted, _instruments(files), present)
    keep = np.ones(len(table), dtype=bool)
    if wanted.suffix is not None:
        keep &= [s in wanted.suffix and not p for s, p in zip(suffixes, pictures, strict=True)]
    if wanted.product_type is not None:
        keep &= [t in wanted.product_type for t in types]
    if wanted.calib_level is not None:
        keep &= [level in map(str, wanted.calib_level) for level in levels]
    if keep.any() or not len(table):
        return table[keep], ""
    return table[keep], (
        f"none of the {len(table)} products matches {_words(wanted)}; there are suffix: {_counted(present)}; "
        f"calib_level: {_counted(levels)}; product_type: {_counted(types)}"
    )


def suffix_of(filename: str) -> str:
    """Return the suffix of a file name as the grammar of names tells it, empty where it tells none."""
    try:
        return parse_filename(filename).suffix
    except ProductNameError:
        return ""


def _instruments(files: Iterable[str]) -> set[str]:
    return {instrument_of(name) for name in files if is_rootname(name.partition(".")[0].partition("_")[0])}


def _words(wanted: Choice) -> str:
    asked_for = {"suffix": wanted.suffix, "calib_level": wanted.calib_level, "product_type": wanted.product_type}
    return " and ".join(f"{k}={list(v) if len(v) > 1 else v[0]!r}" for k, v in asked_for.items() if v)


def _counted(words: Iterable[str]) -> str:
    counts = sorted(Counter(word or "(none)" for word in words).items())
    return ", ".join(f"{word} ({n})" for word, n in counts) or "none"
