"""Every error and warning that `hst_cloud` raises, in one tree.

::

    HSTCloudError
    ├── QueryError(ValueError)                     criteria make no sense; nothing was sent
    ├── ProductNameError(ValueError)               not a name, URI or row that this archive could hold
    ├── ArchiveError                               MAST's side
    │   ├── ArchiveUnavailableError(ConnectionError)   no answer after retries, or past the deadline
    │   └── ArchiveAnswerError                         an answer that cannot be read
    ├── NotInCloudError(LookupError)               known, yet absent from the bucket
    ├── StoreError(OSError)                        the bucket's side
    │   ├── ObjectNotFoundError(FileNotFoundError)
    │   ├── ObjectChangedError                         replaced while it was being read
    │   ├── AccessDeniedError(PermissionError)
    │   ├── WrongRegionError                           the bucket answers from elsewhere
    │   ├── ThrottledError                             told to slow down, until the deadline
    │   ├── CorruptFileError                           the bytes contradict the object's own checksum
    │   └── StoreUnavailableError(ConnectionError)
    ├── LocalDiskError(OSError)                    this machine's side
    │   ├── DiskSpaceError                             no room for what is to be downloaded
    │   └── FileConflictError(FileExistsError)         another file has the name already
    ├── MemoryLimitError(MemoryError)              what is to be read at once is larger than the memory
    ├── FormatError(ValueError)                    the bytes are no FITS file
    │   └── TruncatedFileError(EOFError)               data beyond the end of the object was touched
    ├── OutsideImageError(ValueError)              a cutout shares no pixel with the image
    ├── BudgetExceededError(RuntimeError)          the next request would pass a budget; it was not sent
    └── MissingExtraError(ImportError)             an optional dependency is not installed

    HSTCloudWarning(AstropyUserWarning)

Each leaf is also the builtin that a stranger would catch, and never a `KeyError`, whose text is quoted.
The message comes first; what a program may want to look at follows as keyword attributes, all `None` by default,
so that every error can be pickled.
"""

from __future__ import annotations

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
    """The criteria make no sense; raised before anything is sent where that can be known."""


class ProductNameError(HSTCloudError, ValueError):
    """The input is no name, URI or table row of a product that this archive could hold."""


class ArchiveError(HSTCloudError):
    """MAST could not be asked, or did not answer."""


class ArchiveUnavailableError(ArchiveError, ConnectionError):
    """MAST gave no answer, after retries or past the deadline."""


class ArchiveAnswerError(ArchiveError):
    """MAST answered with an error, or in a shape that cannot be read."""


class NotInCloudError(HSTCloudError, LookupError):
    """The product is known, but the public bucket does not hold it."""


class StoreError(HSTCloudError, OSError):
    """The store of bytes failed."""


class ObjectNotFoundError(StoreError, FileNotFoundError):
    """The store holds no object of that key."""


class ObjectChangedError(StoreError):
    """The object is no longer the one whose bytes were read first."""


class AccessDeniedError(StoreError, PermissionError):
    """The store refuses anonymous access to the object."""


class WrongRegionError(StoreError):
    """The bucket is served from another region than the one asked."""


class ThrottledError(StoreError):
    """The store asked to slow down until the tries or the time ran out."""


class CorruptFileError(StoreError):
    """The bytes that came are not those that a checksum of the object, or in the file, promises."""


class StoreUnavailableError(StoreError, ConnectionError):
    """The store gave no usable answer, after retries."""


class LocalDiskError(HSTCloudError, OSError):
    """A file on this machine could not be written or read."""


class DiskSpaceError(LocalDiskError):
    """The disk has no room for what is to be downloaded; what has come in so far stays for a later call."""


class FileConflictError(LocalDiskError, FileExistsError):
    """A different file has the name that a download would give to its own; it was left as it is."""


class MemoryLimitError(HSTCloudError, MemoryError):
    """What is to be read at once does not fit into memory; it was not read."""


class FormatError(HSTCloudError, ValueError):
    """The bytes are not a FITS file that astropy can read."""


class TruncatedFileError(FormatError, EOFError):
    """Data beyond the end of the object was touched: the file in the store is incomplete."""


class OutsideImageError(HSTCloudError, ValueError):
    """A cutout shares no pixel with the image; the message says how far outside it lies."""


class BudgetExceededError(HSTCloudError, RuntimeError):
    """The next request would pass a budget and was not sent: see what was spent, and what it would take."""


class MissingExtraError(HSTCloudError, ImportError):
    """An optional dependency is needed; the message says which extra installs it."""


class HSTCloudWarning(AstropyUserWarning):
    """Something that the user may want to change; the message says how."""
