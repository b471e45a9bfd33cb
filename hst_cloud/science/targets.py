"""Where each download goes in the user's folder: names of the archive become paths only here, and no file is touched.

A key comes from a table or a server and is hostile until every component of it matches the grammar of names; then it
is used in lower or upper case as it is. Neither layout can leave the folder: no component is empty, begins with a dot
or holds a separator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal, TypeAlias, get_args

from hst_cloud.archive.names import key_of_s3_uri
from hst_cloud.archive.references import folder_of
from hst_cloud.errors import QueryError
from hst_cloud.settings import BUCKET

__all__ = ["LAYOUTS", "Layout", "as_layout", "target_of", "targets"]

Layout: TypeAlias = Literal["flat", "nested"]
"""How files lie in the folder: side by side, reference files below ``references``; or in the folders of their keys."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def as_layout(layout: str) -> Layout:
    """Return `layout` if it is one.

    Raises
    ------
    QueryError
        It is not.
    """
    for known in LAYOUTS:
        if layout == known:
            return known
    message = f"layout={layout!r} is not known: expected 'flat' or 'nested'"
    raise QueryError(message)


def target_of(key: str, layout: Layout) -> PurePosixPath:
    """Return the path, relative to the folder, that the object of a key is given.

    Raises
    ------
    ProductNameError
        The key holds what no name of the archive does.
    """
    safe = PurePosixPath(key_of_s3_uri(f"s3://{BUCKET}/{key}"))
    return safe if layout == "nested" else PurePosixPath(folder_of(key), safe.name)


def targets(keys: Iterable[str], layout: Layout, *, reserved: Iterable[str] = ()) -> Mapping[str, PurePosixPath]:
    """Return the path of each key.

    Parameters
    ----------
    keys : iterable of str
        Object keys; one that comes twice is meant once.
    layout : {"flat", "nested"}
        How files lie in the folder.
    reserved : iterable of str, optional
        Names that something else has there.

    Raises
    ------
    QueryError
        Two objects, or an object and something else, would have one path; also where a file system that makes no
        difference between lower and upper case would give them one.
    ProductNameError
        A key holds what no name of the archive does.
    """
    paths: dict[str, PurePosixPath] = {}
    owners = {name.casefold(): f"the {name} of this call" for name in reserved}
    for key in dict.fromkeys(keys):
        path = paths[key] = target_of(key, layout)
        owner = owners.setdefault(str(path).casefold(), key)
        if owner != key:
            advice = (
                "give layout='nested' (--nested), which keeps the folders of the keys"
                if layout == "flat"
                else "download them into different folders"
            )
            message = f"two things would be the file {path}: {owner} and {key}; {advice}"
            raise QueryError(message)
    return paths
