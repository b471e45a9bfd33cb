"""Every error and warning that `hst_cloud` raises, in one tree.

::

    HSTCloudError
    ├── QueryError(ValueError)
    ├── ProductNameError(ValueError)
    ├── ArchiveError
    │   ├── ArchiveUnavailableError(ConnectionError)
    │   └── ArchiveAnswerError
    ├── NotInCloudError(FileNotFoundError)
    ├── StoreError(OSError)
    │   ├── ObjectNotFoundError(FileNotFoundError)
    │   ├── ObjectChangedError
    │   ├── AccessDeniedError(PermissionError)
    │   ├── WrongRegionError
    │   ├── ThrottledError
    │   ├── CorruptFileError
    │   └── StoreUnavailableError(ConnectionError)
    ├── LocalDiskError(OSError)
    │   ├── DiskSpaceError
    │   └── FileConflictError(FileExistsError)
    ├── MemoryLimitError(MemoryError)
    ├── FormatError(ValueError)
    │   └── TruncatedFileError(EOFError)
    ├── OutsideImageError(ValueError)
    ├── BudgetExceededError(RuntimeError)
    └── MissingExtraError(ImportError)

    HSTCloudWarning(AstropyUserWarning)

Each leaf is also the builtin that a stranger would catch, and never a `KeyError`, whose text is quoted.
The message comes first; what a program may want to look at follows as keyword attributes, all `None` by default,
so that every error can be pickled.
"""

from __future__ import annotations

from typing import Self

from astropy.utils.exceptions import AstropyUserWarning

__all__ = [
    "AccessDeniedError",
    "ArchiveAnswerError",
    "ArchiveError",
    "ArchiveUnavailableError",
    "BudgetExceededError",
    "CorruptFileError",
    "DiskSpaceError",
    "FileConflictError",
    "FormatError",
    "HSTCloudError",
    "HSTCloudWarning",
    "LocalDiskError",
    "MemoryLimitError",
    "MissingExtraError",
    "NotInCloudError",
    "ObjectChangedError",
    "ObjectNotFoundError",
    "OutsideImageError",
    "ProductNameError",
    "QueryError",
    "StoreError",
    "StoreUnavailableError",
    "ThrottledError",
    "TruncatedFileError",
    "WrongRegionError",
]


class HSTCloudError(Exception):
    """The root of all errors of this package.

    Attributes
    ----------
    key : str or None
        The object key that the error is about.
    uri : str or None
        The product's URI, where it has no key.
    url : str or None
        The address that was asked.
    request_id : str or None
        The service's own id of the failed request, for its support desk.
    attempts : int or None
        How many times the request was sent.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        uri: str | None = None,
        url: str | None = None,
        request_id: str | None = None,
        attempts: int | None = None,
    ) -> None:
        super().__init__(message)
        self.key = key
        self.uri = uri
        self.url = url
        self.request_id = request_id
        self.attempts = attempts


class QueryError(HSTCloudError, ValueError):
    """The criteria make no sense; raised before anything is sent where that can be known.

    Correct the argument that the message names; it says what was expected.
    """


class ProductNameError(HSTCloudError, ValueError):
    """The input is no name, URI or table row of a product that this archive could hold.

    Give a file name, a ``mast:`` or ``s3://`` URI, or a row of a table of products.
    """


class ArchiveError(HSTCloudError):
    """MAST could not be asked, or did not answer."""


class ArchiveUnavailableError(ArchiveError, ConnectionError):
    """MAST gave no answer, after retries or past the deadline.

    Try later, or start from names: they open, and resolve by rule, without MAST.
    """


class ArchiveAnswerError(ArchiveError):
    """MAST answered with an error, or in a shape that cannot be read.

    Read MAST's own words in the message; ``hst-cloud doctor`` tells whether its answers have changed.
    """


class NotInCloudError(HSTCloudError, FileNotFoundError):
    """The product is known, but the public bucket does not hold it.

    Read the product from MAST with ``source="mast"``, or choose one that the message names.
    """


class StoreError(HSTCloudError, OSError):
    """The store of bytes failed."""


class ObjectNotFoundError(StoreError, FileNotFoundError):
    """The store holds no object of that key.

    Look with ``hst_cloud.resolve(..., verify=True)``, which says what lies there instead.
    """


class ObjectChangedError(StoreError):
    """The object is no longer the one whose bytes were read first.

    Open the product again; what was read before is of the former version.
    """


class AccessDeniedError(StoreError, PermissionError):
    """The store refuses anonymous access to the object.

    Compare the causes in the message; proprietary files are downloaded from MAST.
    """


class WrongRegionError(StoreError):
    """The bucket is served from another region than the one asked.

    Correct ``HST_CLOUD_ENDPOINT`` or the ``store`` that was given.
    """


class ThrottledError(StoreError):
    """The store asked to slow down until the tries or the time ran out.

    Try later, or with a smaller ``in_flight``.
    """


class CorruptFileError(StoreError):
    """The bytes that came are not those that a checksum of the object, or in the file, promises.

    Read again; where that gives the same, the file in the archive is damaged: tell MAST's help desk.
    """


class StoreUnavailableError(StoreError, ConnectionError):
    """The store gave no usable answer, after retries.

    See with ``hst-cloud doctor`` what works from where you are, and try later.
    """


class LocalDiskError(HSTCloudError, OSError):
    """A file on this machine could not be written or read."""


class DiskSpaceError(LocalDiskError):
    """The disk has no room for what is to be downloaded; what has come in so far stays for a later call.

    Make room, or name another folder, and call again.
    """


class FileConflictError(LocalDiskError, FileExistsError):
    """A different file has the name that a download would give to its own; it was left as it is.

    Move that file away, or name another folder.
    """


class MemoryLimitError(HSTCloudError, MemoryError):
    """What is to be read at once does not fit into memory; it was not read.

    Read sections, columns or rows instead of the whole, or a file at a time.
    """

    def __new__(cls, *args: object, **facts: object) -> Self:
        """Make one as `Exception` does: what `MemoryError` does is for its own kind alone."""
        return Exception.__new__(cls, *args, **facts)


class FormatError(HSTCloudError, ValueError):
    """The bytes are not a FITS file that astropy can read.

    Look at the file with ``hst-cloud info``; the message names the HDU or the keyword.
    """


class TruncatedFileError(FormatError, EOFError):
    """Data beyond the end of the object was touched: the file in the store is incomplete.

    Read what lies before the end, or the product from MAST.
    """


class OutsideImageError(HSTCloudError, ValueError):
    """A cutout shares no pixel with the image; the message says how far outside it lies.

    Check the position; ``on_error="skip"`` leaves such products out.
    """


class BudgetExceededError(HSTCloudError, RuntimeError):
    """The next request would pass a budget and was not sent: see what was spent, and what it would take.

    Raise the limit that the message names, or ask for less.
    """


class MissingExtraError(HSTCloudError, ImportError):
    """An optional dependency is needed; the message says which extra installs it.

    Install the extra: ``pip install 'hst-cloud[plot]'`` and its like.
    """


class HSTCloudWarning(AstropyUserWarning):
    """Something that the user may want to change; the message says how.

    Do what the message says, or filter the category.
    """
