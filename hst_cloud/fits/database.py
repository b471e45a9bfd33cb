"""A SQLite file that many threads and processes share, and that may be lost at any time: what the index stands on.

Nothing that goes wrong with the file is raised. What is busy is left for the next time, what is damaged or of another
schema is made anew, and what cannot be used at all is switched off with one warning.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import warnings
import weakref
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from hst_cloud.errors import HSTCloudWarning

__all__ = ["Database", "check_own", "number", "transaction"]

T = TypeVar("T")

# Seconds that a call waits for other processes' writing, which takes less than a millisecond as a rule.
_PATIENCE = 1.0
# Times that a damaged file is made anew before the disk is given up.
_REBUILDS = 3

# Another is writing; the next call may have more luck.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT}
# What making the file anew would not mend: https://www.sqlite.org/rescode.html
_HOPELESS = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
# What it would, although it goes by the name of one of these.
_MENDABLE = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED}


class Database:
    """One such file. It may be shared by threads and used after a fork.

    Parameters
    ----------
    file : callable
        Gives the file's path when it is first needed; None for no file. Its folder is made for the owner alone.
    schema : int
        Version of the tables, at least 1.
    tables : sequence of str
        The statements that make them.
    """

    def __init__(self, file: Callable[[], Path | None], *, schema: int, tables: Sequence[str]) -> None:
        self._find = file
        self._schema = schema
        self._tables = tables
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._shared = 0
        self._rebuilds = 0
        self._guarded = False
        self.off = False
        """Whether the file is not used any more."""

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # an interpreter that is ending
            self._disconnect()

    def ask(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what `work` gives; None where the file does not allow for it.

        `work` is done again if the file had to be made anew. One thread works at a time.
        """
        said = ""
        with self._lock:
            while not self.off:
                try:
                    connection = self._connected()
                    return None if connection is None else work(connection)
                except (sqlite3.Error, OSError, UnicodeError) as error:  # what SQLite says of damage may be no text
                    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
                    if code & 0xFF in _BUSY:
                        return None
                    said = self._rebuilt() if _mendable(error, code, self._file) else _first_line(error)
                    self.off = bool(said)
            if said:
                self._disconnect()
        if said:
            message = (
                f"layouts are not remembered, because {self._file} cannot be used ({said}). Files are read all the "
                "same, with one or two more round trips each. Name a folder that can be written in HST_CLOUD_CACHE, "
                "or 'off'."
            )
            warnings.warn(message, HSTCloudWarning, stacklevel=4)
        return None

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        with self._lock:
            self._disconnect()

    def _connected(self) -> sqlite3.Connection | None:
        self._file = self._file or self._find()
        if self._file is None:
            self.off = True
            return None
        if self._connection is not None and _identity(self._file) != self._identity:
            self._disconnect()  # somebody has removed the file, or made it anew
        if self._connection is None:
            self._guard()
            check_own(self._file)
            self._connection = _opened(self._file, self._schema, self._tables)
            self._identity = _identity(self._file)
            self._shared = 0
        self._mend_shared()
        return self._connection

    def _mend_shared(self) -> None:
        """Give the memory that processes share its length back, if somebody cut it.

        SQLite has mapped the whole file, and to touch a page that is gone ends the process (SIGBUS). Of zeros it sees
        that they are no index of its log, and makes the index anew.
        """
        shared = Path(f"{self._file}-shm")
        with contextlib.suppress(OSError):  # it was removed: what is mapped of it stays
            size = shared.stat(follow_symlinks=False).st_size
            if size < self._shared:
                os.truncate(shared, self._shared)
            self._shared = max(size, self._shared)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._mend_shared()  # closing looks at it, too
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _rebuilt(self) -> str:
        """Remove a damaged file so that the next turn makes it anew; return what hinders, if anything does."""
        assert self._file is not None
        damaged = _identity(self._file) if self._connection is None else self._identity
        self._disconnect()
        self._rebuilds += 1
        if self._rebuilds > _REBUILDS:
            return f"it was found damaged {self._rebuilds} times"
        if damaged is None or _identity(self._file) != damaged:
            return ""  # another process was faster
        try:
            # Those that still have it open do no harm: before SQLite touches a log by its name, it looks whether the
            # database was moved. The file itself goes last: from then on, the log of that name may be a new one.
            for end in ("-wal", "-shm"):
                Path(f"{self._file}{end}").unlink(missing_ok=True)
            self._file.replace(f"{self._file}.{os.getpid()}.damaged").unlink(missing_ok=True)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return _first_line(error)
        return ""

    def _guard(self) -> None:
        """Let go of the file before every fork, which neither SQLite's locks nor its mutexes survive.

        https://www.sqlite.org/howtocorrupt.html, sec. 2.6
        """
        if self._guarded or not hasattr(os, "register_at_fork"):
            return
        self._guarded = True
        this = weakref.ref(self)
        held: list[threading.Lock] = []

        def before() -> None:
            database = this()
            if database is not None and database._lock.acquire(timeout=2 * _PATIENCE):  # noqa: SLF001  # a method
                held.append(database._lock)  # noqa: SLF001
                database._disconnect()  # noqa: SLF001

        def after() -> None:
            while held:
                held.pop().release()

        def in_child() -> None:
            after()
            database = this()
            if database is not None:
                database._lock = threading.Lock()  # noqa: SLF001  # a thread that is not here may hold the old one

        os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Do all that is in the block, or nothing of it."""
    if connection.in_transaction:  # Ctrl-C came between two lines of this function
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")  # one that begins by reading could not wait for others that write
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def number(connection: sqlite3.Connection, query: str) -> int:
    """Return the integer that a query gives."""
    # All rows are taken: a statement that is not at its end would keep the log from being emptied.
    return int(connection.execute(query).fetchall()[0][0])


def _opened(file: Path, schema: int, tables: Sequence[str]) -> sqlite3.Connection:
    """Open the file, and make what is missing of it.

    Raises
    ------
    sqlite3.DatabaseError
        It is damaged, or of another schema.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # SQLite itself would let others read it
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
    # Without an isolation level, Python begins no transactions of its own.
    connection = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        # Large pages: rows of 100 kB are read from few of them. Heeded, like the next, only before there are tables.
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        # A loss of power may cost the file, and no more than that: nothing waits for the disk.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_size_limit = 16777216").fetchall()
        if number(connection, "PRAGMA user_version") == 0:
            with transaction(connection):
                if not number(connection, "SELECT count(*) FROM sqlite_master"):  # nobody was faster
                    for statement in tables:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {schema}")
        if number(connection, "PRAGMA user_version") != schema:
            message = "tables of another schema"
            raise sqlite3.DatabaseError(message)  # noqa: TRY301  # it goes the way of every file that is of no use
    except BaseException:
        connection.close()
        raise
    return connection


def check_own(file: Path) -> None:
    """Raise unless the file, what SQLite puts beside it, and their folder are this user's, as far as they exist.

    Raises
    ------
    PermissionError
        Another user may have planted one of them, or could at any time.
    """
    if not hasattr(os, "geteuid"):
        return
    for path in (file.parent, file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        is_folder = path == file.parent
        try:
            found = path.stat(follow_symlinks=is_folder)  # a home folder may well lie behind a link
        except FileNotFoundError:
            continue
        if found.st_uid not in ({os.geteuid(), 0} if is_folder else {os.geteuid()}):
            message = f"{path} belongs to another user, number {found.st_uid}"
            raise PermissionError(message)
        if is_folder and found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            message = f"everybody may write in {path}"
            raise PermissionError(message)
        if not is_folder and not stat.S_ISREG(found.st_mode):
            message = f"{path} is a link or something else that is no file"
            raise PermissionError(message)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _mendable(error: Exception, code: int, file: Path | None) -> bool:
    if isinstance(error, OSError):
        return False
    # A byte of the file itself may forbid to write it: https://www.sqlite.org/fileformat.html, sec. 1.3.3.
    says_so_itself = code == sqlite3.SQLITE_READONLY and file is not None and os.access(file, os.W_OK)
    return code & 0xFF not in _HOPELESS or code in _MENDABLE or says_so_itself


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
