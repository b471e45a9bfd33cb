"""What the peers have in common: their sessions, and what astropy does with what they bring."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from benchmarks.reading.values import TEN, Setting, keywords, native
from hst_cloud.settings import BUCKET, REGION

MIB = 2**20


# --- Sessions --------------------------------------------------------------------------------------------------------


def s3fs_session(setting: Setting, connections: int | None) -> Any:
    """Return an s3fs file system; `connections` is what botocore's pool may hold, 10 where it is None."""
    import s3fs

    config = {} if connections is None else {"max_pool_connections": connections}
    return s3fs.S3FileSystem(anon=True, endpoint_url=setting.root, config_kwargs=config, skip_instance_cache=True)


def obstore_session(setting: Setting) -> Any:
    """Return an obstore store."""
    from obstore.store import S3Store

    return S3Store(
        BUCKET,
        endpoint=setting.root,
        region=REGION,
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def boto3_session(setting: Setting, connections: int) -> Any:
    """Return a client of boto3."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, max_pool_connections=connections)
    return boto3.client("s3", endpoint_url=setting.root, region_name=REGION, config=config)


# --- What astropy makes of bytes -------------------------------------------------------------------------------------


def header_pair(data: Any) -> tuple[fits.Header, fits.Header]:
    """Return the headers of a file whose primary HDU has no data; without the machinery for HDUs this is quickest."""
    file = io.BytesIO(data)
    return fits.Header.fromfile(file), fits.Header.fromfile(file)


def every_keyword(header: fits.Header) -> dict[str, Any]:
    """Return all keywords of a header with their values."""
    values = dict(header.items())
    for name in ("COMMENT", "HISTORY"):
        if name in values:
            values[name] = str(header[name])
    return values


def ten_of(header: fits.Header) -> list[Any]:
    """Return ten keywords of a header, of which astropy parses no other cards."""
    return [header[name] for name in TEN]


def plain_pairs(read: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[dict[str, str]]]:
    """Return keywords of two headers a file as all ways have them."""
    return [[keywords(one) for one in pair] for pair in read]


def plain_tens(read: Sequence[Sequence[Any]]) -> list[dict[str, str]]:
    """Return ten keywords a file as all ways have them."""
    return [keywords(dict(zip(TEN, values, strict=True))) for values in read]


def as_table(hdul: fits.HDUList, units: dict[str, u.UnitBase]) -> Table:
    """Return the table of the first extension with its units, each of which is parsed once.

    That is quicker than ``Table.read``, by a factor of two.
    """
    hdu = hdul[1]
    table = Table(hdu.data, copy=False)
    for column in hdu.columns:
        if column.unit:
            if column.unit not in units:
                units[column.unit] = u.Unit(column.unit, parse_strict="silent")
            table[column.name].unit = units[column.unit]
    return table


def as_columns(hdul: fits.HDUList) -> dict[str, np.ndarray]:
    """Return the columns of the table of the first extension as arrays in native byte order."""
    data = hdul[1].data
    return {name: np.asarray(native(data[name])) for name in data.dtype.names}


def plain_tables(read: Sequence[Table]) -> list[dict[str, tuple[np.ndarray, bool]]]:
    """Return tables as all ways have them: arrays, and whether they have a unit."""
    return [{name: (np.asarray(one[name]), one[name].unit is not None) for name in one.colnames} for one in read]


def images(path: Path) -> list[np.ndarray]:
    """Return the arrays of the images of a file in native byte order; it is mapped: the swap is the only copy."""
    with fits.open(path, memmap=True) as hdul:
        return [native(hdu.data) for hdu in hdul if hdu.is_image and hdu.data is not None]
