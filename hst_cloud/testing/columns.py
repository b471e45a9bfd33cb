"""The columns of MAST's catalog as data: what the embedded archive answers with, and how it describes it.

Names and types are those of MAST's answers today; labels and descriptions are ours.
Source of names, units and meanings: https://mast.stsci.edu/api/v0/_c_a_o_mfields.html and _productsfields.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["DISTANCE", "OBSERVATION", "PRODUCT", "Cell", "Column", "Row", "configuration"]

Cell: TypeAlias = str | int | float | bool | None
Row: TypeAlias = dict[str, Cell]
Kind: TypeAlias = Literal["string", "int", "float", "boolean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of an answer."""

    name: str
    """As MAST writes it."""
    kind: Kind
    """Type that the answer declares."""
    label: str
    """Heading for a person."""
    description: str
    """What it holds."""
    unit: str = ""
    """Unit for a person."""
    vot_unit: str = ""
    """Unit in VOTable's notation."""
    vot_type: str = ""
    """Type in VOTable's notation, where it is not that of `kind`."""
    separator: str = ""
    """What parts the values within one cell; empty where a cell is one value."""
    example: str = ""
    """Values that it may have."""


def _columns(*rows: Column) -> dict[str, Column]:
    return {column.name: column for column in rows}


def _text(name: str, label: str, description: str, *, separator: str = "", example: str = "") -> Column:
    return Column(name=name, kind="string", label=label, description=description, separator=separator, example=example)


def _real(name: str, label: str, description: str, *, unit: str = "", vot_unit: str = "") -> Column:
    return Column(name=name, kind="float", label=label, description=description, unit=unit, vot_unit=vot_unit)


_LEVEL = Column(
    name="calib_level",
    kind="int",
    label="Calibration Level",
    description="How far the data have been processed",
    example="-1 planned, 0 raw telemetry, 1 uncalibrated, 2 calibrated, 3 combined, 4 contributed",
)
_RIGHTS = _text("dataRights", "Data Rights", "Whether everybody may have the data", example="PUBLIC, EXCLUSIVE_ACCESS")
_FILTERS = _text("filters", "Filters", "Filters and gratings", separator=";", example="F814W, G130M, F606W;POL0V")
_PROPOSAL = _text("proposal_id", "Proposal ID", "Number of the observing proposal", example="12058")
_TYPE = _text("dataproduct_type", "Product Type", "What the data are", example="image, spectrum, timeseries, cube")

OBSERVATION: dict[str, Column] = _columns(
    _text("intentType", "Observation Type", "Whether the exposure serves science or calibration", example="science"),
    _text("obs_collection", "Mission", "Whose collection the observation is in", separator=";", example="HST, HLA"),
    _text("provenance_name", "Provenance Name", "What produced the data", example="CALACS, CALCOS"),
    _text("instrument_name", "Instrument", "Instrument and detector", example="ACS/WFC, COS/FUV"),
    _text("project", "Project", "Project that processed the data", separator=";", example="HST, HAP"),
    _FILTERS,
    _text("wave_region", "Waveband", "Region of the spectrum", separator=";", example="UV, OPTICAL"),
    _text("target_name", "Target Name", "Name that the proposal gives to the target", example="M51"),
    _text("target_classification", "Target Classification", "Kind of target", separator=";", example="GALAXY;SPIRAL"),
    _text("obs_id", "Observation ID", "Name that the mission gives to the observation", example="jbqf03010"),
    _real("s_ra", "RA", "Right ascension, ICRS", vot_unit="deg"),
    _real("s_dec", "Dec", "Declination, ICRS", vot_unit="deg"),
    _TYPE,
    _text("proposal_pi", "Principal Investigator", "Name of the principal investigator", example="Doe, Jane"),
    _LEVEL,
    _real("t_min", "Start Time", "Begin of the first exposure", unit="MJD", vot_unit="d"),
    _real("t_max", "End Time", "End of the last exposure", unit="MJD", vot_unit="d"),
    _real("t_exptime", "Exposure Length", "Exposure time", unit="sec", vot_unit="s"),
    _text("wavelength_region", "Waveband", "Region of the spectrum", separator=";", example="UV, OPTICAL, INFRARED"),
    _real("em_min", "Min. Wavelength", "Shortest wavelength", vot_unit="nm"),
    _real("em_max", "Max. Wavelength", "Longest wavelength", vot_unit="nm"),
    _text("obs_title", "Observation Title", "Title of the proposal"),
    _real("t_obs_release", "Release Date", "When the data become public", unit="MJD"),
    _PROPOSAL,
    _text("proposal_type", "Proposal Type", "Kind of proposal", example="GO, GTO, SNAP, CAL"),
    Column(
        name="sequence_number",
        kind="int",
        label="Sequence Number",
        description="Number in a sequence, of missions that have one",
    ),
    Column(
        name="s_region",
        kind="string",
        label="Footprint",
        description="Outline on the sky, in STC-S",
        unit="ICRS Shape",
        vot_unit="deg",
        example="POLYGON 10.83 41.23 10.86 41.22 10.89 41.26, CIRCLE ICRS 17.71 -58.40 0.01",
    ),
    _text("jpegURL", "Preview URL", "Where a picture of it is", example="mast:HST/product/ibf301040_drz.jpg"),
    _text("dataURL", "Data URL", "Where its main file is", example="mast:HST/product/ibf301040_drz.fits"),
    _RIGHTS,
    Column(name="mtFlag", kind="boolean", label="Moving Target", description="Whether the target moves on the sky"),
    _real("srcDen", "Associated Catalogs", "Density of sources, of missions that count them"),
    Column(
        name="obsid",
        kind="string",
        vot_type="long",
        label="Product Group ID",
        description="MAST's number of the observation; products are asked for by it",
    ),
    Column(
        name="objID",
        kind="string",
        vot_type="long",
        label="Object ID",
        description="MAST's number of the observation at this calibration level",
    ),
    _real("wave_min", "Min. Wavelength", "Shortest wavelength", vot_unit="nm"),
    _real("wave_max", "Max. Wavelength", "Longest wavelength", vot_unit="nm"),
)

DISTANCE = _real("distance", 'Distance (")', "Angle between the position asked for and s_ra, s_dec", vot_unit="arcsec")

PRODUCT: dict[str, Column] = _columns(
    Column(
        name="obsID",
        kind="string",
        vot_type="long",
        label="Product Group ID",
        description="Number of the observation that owns the file",
    ),
    _text("obs_collection", "Mission", "Whose collection the file is in", separator=";", example="HST, HLA"),
    _TYPE,
    _text("obs_id", "Observation ID", "Observation that owns the file", example="jbqf03gjq"),
    _text("description", "Description", "What the file is", example="DADS FLC file - Calibrated exposure"),
    _text("type", "Type", "S: one exposure; C: a combination; D: derived from others", example="S, C, D"),
    _text("dataURI", "URI", "Name by which the file is asked for", example="mast:HST/product/jbqf03gjq_flc.fits"),
    _text("productType", "Product Type", "Use of the file", example="SCIENCE, AUXILIARY, PREVIEW, THUMBNAIL, INFO"),
    _text("productGroupDescription", "Product Group", "Whether it is among the few that most people need"),
    _text("productSubGroupDescription", "Product Subgroup", "Suffix of the file name", example="FLC, X1D"),
    _text("productDocumentationURL", "Documentation", "Where the kind of file is explained"),
    _text("project", "Project", "Pipeline that made the file", example="CALACS, HAP-SVM"),
    _text("prvversion", "Version", "Version of the pipeline"),
    _PROPOSAL,
    _text("productFilename", "Filename", "Name of the file", example="jbqf03gjq_flc.fits"),
    Column(name="size", kind="int", vot_type="long", label="Size", description="Size of the file", unit="byte"),
    Column(
        name="parent_obsid",
        kind="string",
        vot_type="long",
        label="Parent",
        description="Number of the observation that was asked for",
    ),
    _RIGHTS,
    _LEVEL,
    _FILTERS,
)

_VOT = {"string": "char", "int": "int", "float": "double", "boolean": "boolean"}


def configuration(columns: dict[str, Column]) -> dict[str, dict[str, str | bool]]:
    """Return the columns configuration of a service, with the properties that astroquery reads.

    Its filters are ranges for columns of type double and lists of values for others; a column's separator is sent
    back with the filter.
    """
    described: dict[str, dict[str, str | bool]] = {
        "_selected_": {"text": "selected", "type": "boolean", "hidden": True}
    }
    for column in columns.values():
        found: dict[str, str | bool] = {
            "text": column.label,
            "vot.datatype": column.vot_type or _VOT[column.kind],
            "vot.name": column.name,
            "vot.ID": column.name,
            "vot.description": column.description,
        }
        optional = {
            "unit": column.unit,
            "vot.unit": column.vot_unit,
            "separator": column.separator,
            "example": column.example,
        }
        described[column.name] = found | {name: value for name, value in optional.items() if value}
    return described
