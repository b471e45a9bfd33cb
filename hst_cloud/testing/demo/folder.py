"""The demonstration archive: a few products of each instrument, laid out like the bucket, with a catalog beside them.

Everything in it is made up: programs, exposures, pictures and spectra. Structures, keywords and units are those of
real files, so that what works here works on the archive; see `hst_cloud.testing.demo.targets` for what is observed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from hst_cloud.archive.names import key_of, parse_filename
from hst_cloud.archive.references import key_of as key_of_reference
from hst_cloud.errors import QueryError
from hst_cloud.testing.demo import cos, imaging, mosaics, sensors, stis, support, targets
from hst_cloud.testing.demo.blocks import Value
from hst_cloud.testing.demo.exposures import Exposure, filename
from hst_cloud.testing.demo.references import named_in, reference_file
from hst_cloud.testing.demo.structures import SEED, Structure
from hst_cloud.testing.files import CATALOG, ELSEWHERE

__all__ = ["make_demo_archive"]

_HAP = "hst_99101_01_acs_wfc_f814w_jzdm01"
_HLA = "hst_99102_01_wfc3_uvis_f555w"
_EXCLUSIVE = "lzdm09010"


@dataclass(frozen=True, slots=True)
class _File:
    """One file to be made."""

    path: str
    """Within the archive's folder."""
    structure: Structure
    exposure: Exposure


def make_demo_archive(
    folder: str | os.PathLike[str], *, scale: int = 16, seed: int = SEED, instruments: Iterable[str] | None = None
) -> Path:
    """Write the demonstration archive into `folder`, unless it is there already.

    The same arguments give the same bytes. Each file appears under its name when it is complete; the catalog, which
    says what was made, comes last. Files of an earlier demonstration that do not belong to this one are removed,
    others are left alone.

    Parameters
    ----------
    folder : str or Path
        Where to, as `hst_cloud.testing.LocalArchive` takes it; made if need be.
    scale : int, optional
        Images have this many times fewer rows and columns than the real ones, lists of events and samples this
        many times fewer rows, spectra its square root times fewer pixels. 16 makes 29 MB in a few seconds; 1 is full
        size, some 2.5 GB in some minutes.
    seed : int, optional
        Of noise, stars and cosmic rays.
    instruments : iterable of str, optional
        ``ACS``, ``COS``, ``STIS``, ``WFC3``, ``FGS``; all by default.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    QueryError
        An instrument is unknown, or the scale is no whole number from 1 to 64.
    FileExistsError
        The folder holds a catalog that this function did not write.

    Notes
    -----
    No requests.
    """
    chosen = _chosen(instruments)
    if scale not in range(1, 65):
        message = f"scale={scale!r}: expected a whole number from 1, which is full size, to 64"
        raise QueryError(message)
    root = Path(folder)
    wanted = {"edition": _edition(), "scale": scale, "seed": seed, "instruments": list(chosen)}
    before = _made_before(root)
    if before and {key: before[key] for key in wanted if key in before} == wanted and _complete(root, before):
        return root
    sizes: dict[str, int] = {}
    named: dict[str, str] = {}
    for one in _files(chosen):
        content = one.structure.to_bytes(one.exposure, scale=scale, seed=seed)
        _write(root / one.path, content)
        sizes[one.path] = len(content)
        named |= named_in(content)
    for name, keyword in sorted(named.items()):
        content = reference_file(name, keyword)
        _write(root / key_of_reference(name), content)
        sizes[key_of_reference(name)] = len(content)
    for path in set(before.get("files", {})) - set(sizes):
        (root / path).unlink(missing_ok=True)
    catalog = {"demonstration": wanted | {"files": sizes}} | _rows(chosen, sizes)
    _write(root / CATALOG, json.dumps(catalog, indent=1).encode())
    imaging.forget()
    mosaics.forget()
    return root


def _chosen(instruments: Iterable[str] | None) -> tuple[str, ...]:
    known = tuple(_MAKERS)
    if instruments is None:
        return known
    asked = [instruments] if isinstance(instruments, str) else list(instruments)
    unknown = sorted(set(asked) - set(known))
    if unknown:
        message = f"no demonstration of {', '.join(unknown)}: expected some of {', '.join(known)}"
        raise QueryError(message)
    return tuple(name for name in known if name in asked)


def _made_before(root: Path) -> dict[str, Any]:
    """Return what the catalog says was made here, or nothing.

    Raises
    ------
    FileExistsError
        The catalog is somebody else's.
    """
    path = root / CATALOG
    if not path.exists():
        return {}
    try:
        made = json.loads(path.read_text(encoding="utf-8"))["demonstration"]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} was not written by make_demo_archive, which would replace it: choose an empty folder"
        raise FileExistsError(message) from error
    return dict(made)


def _complete(root: Path, made: dict[str, Any]) -> bool:
    files = made.get("files", {})
    return all((root / path).is_file() and (root / path).stat().st_size == size for path, size in files.items())


def _edition() -> int:
    """Return a number that changes with the generator, so that what an older one made is made anew."""
    here = Path(__file__).parent
    number = crc32((here / "keywords.txt").read_bytes())
    for path in sorted(here.glob("*.py")):
        number = crc32(path.read_bytes(), number)
    return number


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _files(instruments: tuple[str, ...]) -> Iterator[_File]:
    for name in instruments:
        yield from _MAKERS[name]()


def _file(structure: Structure, exposure: Exposure, obs_id: str = "") -> _File:
    name = parse_filename(filename(exposure.rootname, structure.suffix))
    return _File(key_of(name, obs_id), structure, exposure)


def _acs() -> Iterator[_File]:
    for member in targets.SPIRAL.members:
        yield _file(imaging.acs_wfc_raw, member)
        yield _file(imaging.acs_wfc_flt, member)
        yield _file(imaging.acs_wfc_flc, member)
        yield from _common(member)
    yield _file(imaging.acs_wfc_raw, targets.SPIRAL_SINGLE)
    yield _file(imaging.acs_wfc_flt, targets.SPIRAL_SINGLE)
    yield from _common(targets.SPIRAL_SINGLE)
    # an exposure of its own has jitter files of its own, whose names do not tell the folder
    alone = support.single(targets.SPIRAL_SINGLE)
    yield _file(support.jit, alone, targets.SPIRAL_SINGLE.rootname)
    yield _file(support.jif, alone, targets.SPIRAL_SINGLE.rootname)
    combined = replace(targets.SPIRAL, rootname="jzdm01011")  # a product within the association
    yield _file(mosaics.acs_wfc_drz, combined)
    yield _file(mosaics.acs_wfc_drc, combined)
    yield from _association(targets.SPIRAL)
    for exposure in targets.CROWDED:
        yield _file(imaging.acs_wfc_flc, exposure)
        yield from _common(exposure)
    yield _File(f"{ELSEWHERE}/{_HAP}_drc.fits", mosaics.acs_wfc_drc, replace(targets.SPIRAL, rootname=_HAP))


def _wfc3() -> Iterator[_File]:
    for member in targets.CLUSTER_UVIS.members:
        yield _file(imaging.wfc3_uvis_raw, member)
        yield _file(imaging.wfc3_uvis_flc, member)
        yield from _common(member)
    yield _file(mosaics.wfc3_uvis_drc, targets.CLUSTER_UVIS)
    yield from _association(targets.CLUSTER_UVIS)
    for member in targets.CLUSTER_IR.members:
        yield _file(imaging.wfc3_ir_raw, member)
        yield _file(imaging.wfc3_ir_ima, member)
        yield _file(imaging.wfc3_ir_flt, member)
        yield from _common(member)
    yield _file(mosaics.wfc3_ir_drz, targets.CLUSTER_IR)
    yield from _association(targets.CLUSTER_IR)
    for exposure in targets.GRISMS:
        yield _file(imaging.wfc3_ir_flt, exposure)
        yield from _common(exposure)


def _cos() -> Iterator[_File]:
    kinds = (cos.cos_rawtag_a, cos.cos_rawtag_b, cos.cos_corrtag_a, cos.cos_corrtag_b, cos.cos_x1d)
    for member in targets.NUCLEUS.members:
        for kind in kinds:
            yield _file(kind, member)
        yield from _common(member)
    yield _file(cos.cos_x1dsum, targets.NUCLEUS)
    yield from _association(targets.NUCLEUS)


def _stis() -> Iterator[_File]:
    yield _file(stis.stis_echelle_x1d, targets.STANDARD_ECHELLE)
    for kind in (stis.stis_ccd_raw, stis.stis_ccd_flt, stis.stis_ccd_sx1, stis.stis_ccd_x2d):
        yield _file(kind, targets.STANDARD_CCD)
    for exposure in (targets.STANDARD_ECHELLE, targets.STANDARD_CCD):
        # STIS names the files of an exposure after its association
        yield _file(support.spt, exposure)
        yield from _association(exposure)


def _fgs() -> Iterator[_File]:
    for kind in (sensors.fgs_a1f, sensors.fgs_a2f, sensors.fgs_a3f, sensors.fgs_dmf):
        yield _file(kind, targets.DOUBLE)


_MAKERS = {"ACS": _acs, "COS": _cos, "STIS": _stis, "WFC3": _wfc3, "FGS": _fgs}


def _common(exposure: Exposure) -> Iterator[_File]:
    yield _file(support.spt, exposure)
    yield _file(support.trl, exposure)


def _association(exposure: Exposure) -> Iterator[_File]:
    for kind in (support.asn, support.jit, support.jif, support.trl):
        yield _file(kind, exposure)


def _rows(instruments: tuple[str, ...], sizes: dict[str, int]) -> dict[str, Any]:
    """Return rows of the catalog for what is in no folder of the bucket, and how the targets are called elsewhere."""
    observations: list[dict[str, Value]] = []
    products: list[dict[str, Any]] = []
    if "ACS" in instruments:
        name = f"{_HAP}_drc.fits"
        observations.append(_observation(targets.SPIRAL, _HAP, provenance_name="HAP-SVM", project="HAP"))
        products.append(
            _product(targets.SPIRAL, f"mast:HST/product/{name}", _HAP, size=sizes[f"{ELSEWHERE}/{name}"])
            | {"project": "HAP-SVM", "type": "D", "description": "HAP fits science image"}
            | {"prvversion": "DrizzlePac 3.7.0", "parents": [targets.SPIRAL.rootname]}
        )
    if "WFC3" in instruments:
        script = f"mast:HLA/url/cgi-bin/getdata.cgi?dataset={_HLA}_drz.fits"
        observations.append(
            _observation(targets.CLUSTER_UVIS, _HLA, obs_collection="HLA", provenance_name="HLA", project="HLA")
            | {"calib_level": 2, "dataURL": script}
        )
        products.append(
            _product(targets.CLUSTER_UVIS, script, _HLA, size=127771200)
            | {"obs_collection": "HLA", "project": "HLA", "productSubGroupDescription": "DRZ", "calib_level": 2}
            | {"description": "HLA simple fits science image", "parents": [targets.CLUSTER_UVIS.rootname]}
        )
    if "COS" in instruments:
        late = replace(targets.NUCLEUS, start=targets.NUCLEUS.start + 200)
        observations.append(
            _observation(late, _EXCLUSIVE, provenance_name="CALCOS", dataRights="EXCLUSIVE_ACCESS")
            | {"dataproduct_type": "spectrum", "dataURL": f"mast:HST/product/{_EXCLUSIVE}_x1dsum.fits"}
        )
        for suffix, size in (("asn", 11520), ("x1dsum", 1304640)):
            uri = f"mast:HST/product/{_EXCLUSIVE}_{suffix}.fits"
            exclusive = _product(late, uri, _EXCLUSIVE, size=size) | {
                "project": "CALCOS",
                "dataproduct_type": "spectrum",
            }
            products.append(exclusive | {"dataRights": "EXCLUSIVE_ACCESS", "type": "C"})
    if "FGS" in instruments:  # a file is there, but its header has no keyword FILTER
        row: dict[str, Value] = {"obs_id": targets.DOUBLE.rootname, "filters": targets.DOUBLE.elements[0]}
        observations.append(row | {"em_min": 470.0, "em_max": 710.0})
    names = {
        "M 51": targets.SPIRAL, "NGC 5194": targets.SPIRAL, "Whirlpool Galaxy": targets.SPIRAL,
        "NGC 3603": targets.CLUSTER_UVIS, "NGC 4151": targets.NUCLEUS, "G191-B2B": targets.STANDARD_ECHELLE,
        "NGC 104": targets.CROWDED[0], "47 Tuc": targets.CROWDED[0], "HUDF": targets.GRISMS[0],
        "GJ 748": targets.DOUBLE, "Wolf 1062": targets.DOUBLE,
    }  # fmt: skip
    places = {name: [one.target.ra, one.target.dec] for name, one in names.items() if one.instrument in instruments}
    return {"observations": observations, "products": products, "names": places}


def _observation(exposure: Exposure, obs_id: str, **columns: Value) -> dict[str, Value]:
    """Return a row of an observation that has no folder, by MAST's column names."""
    last, first, _ = exposure.program.investigator
    row: dict[str, Value] = {
        "intentType": "science",
        "obs_collection": "HST",
        "instrument_name": f"{exposure.instrument}/{exposure.detector}",
        "project": "HST",
        "filters": exposure.elements[-1],
        "target_name": exposure.target.name,
        "target_classification": exposure.target.description,
        "obs_id": obs_id,
        "s_ra": exposure.target.ra,
        "s_dec": exposure.target.dec,
        "dataproduct_type": "image",
        "proposal_pi": f"{last}, {first}",
        "calib_level": 3,
        "t_min": exposure.start,
        "t_max": exposure.end,
        "t_exptime": exposure.seconds,
        "obs_title": exposure.program.title,
        "t_obs_release": exposure.end + 180,
        "proposal_id": str(exposure.program.number),
        "proposal_type": "GO",
        "s_region": f"CIRCLE ICRS {exposure.target.ra:.8f} {exposure.target.dec:.8f} 0.02",
        "dataURL": f"mast:HST/product/{obs_id}_drc.fits",
        "dataRights": "PUBLIC",
        "mtFlag": False,
        "obsid": str(95_000_000 + crc32(obs_id.encode()) % 4_000_000),
    }
    return row | columns


def _product(exposure: Exposure, uri: str, obs_id: str, *, size: int) -> dict[str, Any]:
    """Return a row of a product that is not in the bucket, by MAST's column names."""
    name = uri.replace("=", "/").rpartition("/")[2]
    return {
        "obsID": str(95_000_000 + crc32(obs_id.encode()) % 4_000_000),
        "obs_collection": "HST",
        "dataproduct_type": "image",
        "obs_id": obs_id,
        "description": f"DADS {name.partition('.')[0].rpartition('_')[2].upper()} file",
        "type": "S",
        "dataURI": uri,
        "productType": "AUXILIARY" if name.endswith("_asn.fits") else "SCIENCE",
        "productSubGroupDescription": name.partition(".")[0].rpartition("_")[2].upper(),
        "proposal_id": str(exposure.program.number),
        "productFilename": name,
        "size": size,
        "dataRights": "PUBLIC",
        "calib_level": 3,
        "filters": exposure.elements[-1],
    }
