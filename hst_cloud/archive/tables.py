"""MAST's answers, and tables that came from elsewhere, as tables of one shape.

Column names are MAST's and are never changed. Physical columns carry units. Ids are text, since MAST sends the same
id now as a text and now as a number. Numbers that MAST does not give are masked; a text that it does not give is
empty, because neither VOTable nor ECSV tells a missing text from an empty one, and a mask that is lost when a table
is written would be no mask. A column that an answer lacks is there all the same, so that what follows need not ask.

Source: "CAOM field descriptions" and "Products field descriptions" at mast.stsci.edu/api/v0; the columns of today's
answers as executed notebooks print them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.table import MaskedColumn, Row, Table
from astropy.utils.masked import Masked

from hst_cloud.errors import ArchiveAnswerError

__all__ = ["OBSERVATIONS", "PRODUCTS", "Field", "Kind", "blank", "from_answers", "text_column", "texts"]

Kind: TypeAlias = Literal["text", "int", "float", "bool"]
"""What a column holds."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column."""

    name: str
    """MAST's name of it, or ours."""
    kind: Kind
    """What it holds."""
    description: str
    """What that means."""
    unit: u.UnitBase | None = None
    """Unit of a number."""
    always: bool = True
    """Whether a table has the column even where the answer lacks it."""


# In the order of today's answers.
OBSERVATIONS: tuple[Field, ...] = (
    Field("intentType", "text", "Whether the observation is for science or calibration"),
    Field("obs_collection", "text", "Mission"),
    Field("provenance_name", "text", "Pipeline that made the products"),
    Field("instrument_name", "text", "Instrument and detector"),
    Field("project", "text", "Processing project"),
    Field("filters", "text", "Filters or gratings, ';' between"),
    Field("wave_region", "text", "Wavelength regime"),
    Field("target_name", "text", "Name of the target in the proposal"),
    Field("target_classification", "text", "Type of the target, ';' between"),
    Field("obs_id", "text", "Observation identifier given by the mission"),
    Field("s_ra", "float", "Right ascension, ICRS", u.deg),
    Field("s_dec", "float", "Declination, ICRS", u.deg),
    Field("dataproduct_type", "text", "Type of product"),
    Field("proposal_pi", "text", "Principal investigator"),
    Field("calib_level", "int", "Calibration level: -1 planned, 0 and 1 raw, 2 calibrated, 3 and 4 combined"),
    Field("t_min", "float", "Start of the exposure: modified Julian date, UTC", u.d),
    Field("t_max", "float", "End of the exposure: modified Julian date, UTC", u.d),
    Field("t_exptime", "float", "Exposure time", u.s),
    Field("wavelength_region", "text", "Energy band"),
    Field("em_min", "float", "Shortest wavelength", u.nm),
    Field("em_max", "float", "Longest wavelength", u.nm),
    Field("obs_title", "text", "Title of the proposal"),
    Field("t_obs_release", "float", "Release of the data: modified Julian date, UTC", u.d),
    Field("proposal_id", "text", "Proposal"),
    Field("proposal_type", "text", "Type of the proposal, such as GO"),
    Field("sequence_number", "int", "Sequence number"),
    Field("s_region", "text", "Footprint, STC-S in degrees"),
    Field("jpegURL", "text", "Preview image"),
    Field("dataURL", "text", "Main product"),
    Field("dataRights", "text", "PUBLIC, or who may read the data"),
    Field("mtFlag", "bool", "Whether the target moves"),
    Field("srcDen", "float", "Number of cataloged sources in the observation"),
    Field("obsid", "text", "MAST's identifier of the observation, which lists its products"),
    Field("objID", "text", "MAST's identifier of the observation at this calibration level"),
    Field("wave_min", "float", "Shortest wavelength", u.nm),
    Field("wave_max", "float", "Longest wavelength", u.nm),
    Field("distance", "float", "Distance from the position searched", u.arcsec, always=False),
)

PRODUCTS: tuple[Field, ...] = (
    Field("obsID", "text", "MAST's identifier of the product's own observation"),
    Field("obs_collection", "text", "Mission or collection"),
    Field("dataproduct_type", "text", "Type of product"),
    Field("obs_id", "text", "Observation identifier given by the mission, of the product's own observation"),
    Field("description", "text", "What the file is"),
    Field("type", "text", "S: of a single observation; C or D: of several"),
    Field("dataURI", "text", "MAST's name of the product"),
    Field("productType", "text", "SCIENCE, PREVIEW, AUXILIARY, INFO, ..."),
    Field("productGroupDescription", "text", "Group, such as Minimum Recommended Products"),
    Field("productSubGroupDescription", "text", "Sub-group, the suffix in upper case"),
    Field("productDocumentationURL", "text", "Where the product is described"),
    Field("project", "text", "Pipeline: CALACS, ..., HAP-SVM, HLA"),
    Field("prvversion", "text", "Version of the pipeline"),
    Field("proposal_id", "text", "Proposal"),
    Field("productFilename", "text", "Name of the file"),
    Field("size", "int", "Size of the file as MAST says", u.byte),
    Field("parent_obsid", "text", "The observation asked for, as MAST says; '0' where it does not know"),
    Field("dataRights", "text", "PUBLIC, or who may read the data"),
    Field("calib_level", "int", "Calibration level of the product: 1 raw or support, 2 calibrated, 3 combined"),
    Field("filters", "text", "Filters or gratings, ';' between"),
    Field("parent_obsids", "text", "Every observation asked for that lists the product, ';' between"),
    Field("key", "text", "Object key in the public bucket, by rule; empty where the rule does not tell it"),
    Field("status", "text", "What is known of its place in the bucket"),
    Field("reason", "text", "Why the status is what it is"),
)

Converted: TypeAlias = "tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]"

_KINDS: dict[str, Kind] = {  # MAST's words for types, in answers and in column configurations
    **dict.fromkeys(("int", "short", "long", "number", "integer"), "int"),
    **dict.fromkeys(("float", "double", "decimal", "numeric"), "float"),
    **dict.fromkeys(("boolean", "bool", "binary"), "bool"),
}
_TRUE = frozenset({"true", "t", "1", "yes"})
_FALSE = frozenset({"false", "f", "0", "no"})


def from_answers(
    answers: Sequence[Mapping[str, object]], fields: Sequence[Field], meta: Mapping[str, object] | None = None
) -> Table:
    """Return the rows of some pages of one of MAST's answers as a table.

    Raises
    ------
    ArchiveAnswerError
        An answer has no rows or no fields, or a value is not of its column's type.
    """
    kinds: dict[str, Kind] = {}
    rows: list[Mapping[str, object]] = []
    for answer in answers:
        declared, data = answer.get("fields"), answer.get("data")
        if (
            not isinstance(declared, list)
            or not isinstance(data, list)
            or not all(map(_is_mapping, [*declared, *data]))
        ):
            message = f"MAST's answer has no 'fields' and 'data' of rows; it has {sorted(answer)[:10]}"
            raise ArchiveAnswerError(message)
        rows += data
        for field in declared:
            kinds.setdefault(str(field.get("name")), _KINDS.get(str(field.get("type")).lower(), "text"))
    kinds.pop("_selected_", None)  # of the portal's own page
    table = Table(meta=dict(meta or {}))
    known = {field.name for field in fields}
    more = [Field(name, kind, "") for name, kind in kinds.items() if name not in known]
    for field in [f for f in fields if f.always or f.name in kinds] + more:
        table[field.name] = _column([row.get(field.name) for row in rows], field)
    return table


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def blank(fields: Sequence[Field], meta: Mapping[str, object] | None = None) -> Table:
    """Return a table without rows that has all columns, with their types and units."""
    return from_answers([], fields, meta)


def texts(table: Table | Row, name: str) -> list[str]:
    """Return a column as texts, empty where the column or a value is missing."""
    if isinstance(table, Row):
        table = table.table[table.index : table.index + 1]
    if name not in table.colnames:
        return [""] * len(table)
    return [_text(value) for value in _plain(table[name])]


def text_column(values: Iterable[object], name: str, description: str = "") -> MaskedColumn:
    """Return a column of texts that keeps its empty ones when it is written."""
    return _column(values, Field(name, "text", description))


def _plain(column: Any) -> list[object]:
    """Return the values of any kind of column as Python's own, None where they are masked."""
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else getattr(column, "mask", None)
    data = getattr(column, "unmasked", column) if isinstance(column, Masked) else column
    values: list[object] = np.ma.getdata(getattr(data, "value", data)).tolist()
    return values if mask is None else [None if m else v for v, m in zip(values, mask, strict=True)]


def _converts(value: object, kind: Kind) -> bool:
    try:
        _CONVERTERS[kind]([value])
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _column(values: Iterable[object], field: Field) -> MaskedColumn:
    values = list(values)
    try:
        data, mask = _CONVERTERS[field.kind](values)
    except (TypeError, ValueError, OverflowError) as err:
        row = next((n for n, value in enumerate(values) if not _converts(value, field.kind)), None)
        message = f"MAST's column {field.name!r} holds something in row {row} that is no {field.kind}: {err}"
        raise ArchiveAnswerError(message) from err
    column = MaskedColumn(
        data, mask=mask, name=field.name, unit=field.unit, description=field.description or None, copy=False
    )
    if field.kind == "text":
        column.info.serialize_method["ecsv"] = "data_mask"  # else ECSV reads an empty text as a masked one
    return column


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN stands for a missing id that became a number elsewhere
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return "" if value is None else str(value)


def _texts(values: Iterable[Any]) -> Converted:
    data = np.array([_text(value) for value in values], dtype=str)
    return data, np.zeros(data.shape, dtype=bool)


def _numbers(values: Iterable[Any]) -> Converted:
    data = np.array([np.nan if v is None or v == "" else float(v) for v in values], dtype=np.float64)
    return data, np.isnan(data)


def _integers(values: Iterable[Any]) -> Converted:
    found = [_integer(value) for value in values]
    data = np.array([0 if v is None else v for v in found], dtype=np.int64)
    return data, np.array([v is None for v in found], dtype=bool)


def _integer(value: Any) -> int | None:
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN
        return None
    result = int(value)  # what is no number raises
    if result != float(value):
        message = f"{value!r} is no whole number"
        raise ValueError(message)
    return result


def _booleans(values: Iterable[Any]) -> Converted:
    words = [str(value).strip().lower() for value in values]
    unknown = [word for word in words if word not in _TRUE | _FALSE | {"none", ""}]
    if unknown:
        message = f"{unknown[0]!r} is neither true nor false"
        raise ValueError(message)
    return np.array([w in _TRUE for w in words], dtype=bool), np.array([w in {"none", ""} for w in words], dtype=bool)


_CONVERTERS = {"text": _texts, "int": _integers, "float": _numbers, "bool": _booleans}
