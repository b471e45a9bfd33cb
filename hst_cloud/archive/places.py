"""Where one product lies in the bucket, and what is known of that, from what MAST says of it and without asking.

The rule and its exceptions are in `hst_cloud.archive.names`; here they become the three columns ``key``, ``status``
and ``reason`` that every row of products carries.
"""

from __future__ import annotations

from hst_cloud.archive.names import Collection, key_of, parse_filename, parse_uri
from hst_cloud.errors import NotInCloudError, ProductNameError
from hst_cloud.values import Product, Status

__all__ = ["collection_of", "place", "placed"]

_MAKERS = {
    "HAP": "a Hubble Advanced Product",
    "HLA": "a product of the Hubble Legacy Archive",
    "HLSP": "a High Level Science Product",
}


def collection_of(uri: str, filename: str = "", project: str = "", obs_collection: str = "") -> Collection:
    """Return who made a product; what nobody else claims is of the calibration pipelines (``CAL``).

    Parameters
    ----------
    uri, filename, project, obs_collection : str
        MAST's columns ``dataURI``, ``productFilename``, ``project`` and ``obs_collection``; one observation's list
        of products mixes them (tests replay such a list).
    """
    if uri.startswith("mast:HLA/") or obs_collection == "HLA" or project == "HLA":
        return "HLA"
    lower = (filename or uri.rpartition("/")[2]).lower()
    if uri.startswith("mast:HLSP/") or obs_collection == "HLSP" or lower.startswith("hlsp_"):
        return "HLSP"
    if project.startswith("HAP") or lower.startswith("hst_"):
        return "HAP"
    return "CAL"


def place(uri: str, obs_id: str = "", rights: str = "", collection: Collection = "CAL") -> tuple[str, Status, str]:
    """Return the ``key``, ``status`` and ``reason`` of a product, by rule alone.

    Parameters
    ----------
    uri : str
        MAST's ``dataURI`` or a file name. Hostile until it matches the grammar of names.
    obs_id : str, optional
        MAST's ``obs_id`` of the product's row, in any case; empty where it is not known.
    rights : str, optional
        MAST's ``dataRights`` of the product's row; empty where it is not known, which is taken as public.
    collection : str, optional
        Who made the file where more than the name is known (`collection_of`); the name can only add to it.

    Returns
    -------
    key : str
        Object key, lower case; empty where the rule does not tell one. An exclusive product has the key that it will
        lie under.
    status : str
        ``unverified`` (nobody has looked), ``exclusive`` or ``not_mirrored``.
    reason : str
        Why, for a person; empty for a public product whose key the rule tells.
    """
    made = _MAKERS.get(collection)
    try:
        name = parse_uri(uri) if uri.startswith("mast:") else parse_filename(uri)
        made = made or _MAKERS.get(name.collection)
        key = "" if made else key_of(name, obs_id.strip())
    except ProductNameError as err:
        return "", "unverified", str(err)
    if rights.strip() and rights.strip().upper() != "PUBLIC":
        return key, "exclusive", f"MAST says {rights.strip()[:40]!r}: not public before its release date"
    if made:
        return "", "not_mirrored", f"{made}; the public bucket does not hold these, MAST does"
    if key:
        return key, "unverified", ""
    if name.collection == "CAL":
        reason = f"the name of {name.filename} does not tell in which exposure's folder it lies; its obs_id would"
        return "", "unverified", reason
    return "", "unverified", f"{name.filename or uri[:120]!r} is no pipeline product of HST, so no rule tells its key"


def placed(product: Product) -> Product:
    """Return `product` if it is one file with a place in the bucket.

    Raises
    ------
    NotInCloudError
        It is an observation with several files, or its place is not known.
    ProductNameError
        It is what could not be read as a product.
    """
    if product.key.endswith("/"):
        message = (
            f"{product.obs_id} names an observation with several files: expected one file, such as "
            f"'{product.obs_id}_raw.fits'. hst_cloud.products lists them."
        )
        raise NotInCloudError(message, key=product.key)
    if product.key:
        return product
    if not product.filename and product.uri is None:
        raise ProductNameError(product.reason)
    advice = (
        "hst_cloud.open(..., source='mast') reads it from MAST."
        if product.status == "not_mirrored"
        else "hst_cloud.resolve(..., verify=True) looks for it in the bucket's listing."
    )
    name = product.filename or product.uri
    message = f"{name} has no known place in the bucket: {product.reason}. {advice}"
    raise NotInCloudError(message, uri=product.uri)
