"""How MAST is asked: one `requests` session whose adapter owns time-outs, retries and the deadline.

``astroquery`` sends its requests through the same kind of session, sets no time-out, and posts a query that is still
executing again and again without a pause. All of that is settled here, below it, where each request passes:

- a request is sent again after a connection error or a status that may pass, as often as the policy allows, and not
  before the ``Retry-After`` of the answer;
- a body is read here, within the time that one try may take, so that a connection that breaks in the middle of an
  answer is a failed try like any other;
- the same body once more is the poll of a query that is executing (each query carries an id of its own): it waits a
  little first, and counts against the deadline, not against the tries;
- nothing is ever sent twice at a time: a query costs the database more than a wait costs us.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from http import HTTPStatus
from itertools import count
from typing import TypeAlias, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from astropy import units as u
from requests.adapters import HTTPAdapter

from hst_cloud.cost.ledger import Receipt, source_of, spending
from hst_cloud.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveUnavailableError,
    BudgetExceededError,
    QueryError,
)
from hst_cloud.store.policy import MAST, RETRIED, Clock
from hst_cloud.values import Progress

__all__ = [
    "PatientAdapter",
    "Watcher",
    "answer_of",
    "cause_of",
    "clock_for",
    "excerpt",
    "in_parallel",
    "new_session",
    "patient",
    "translated",
]

Watcher: TypeAlias = Callable[[Progress], None]
"""What is told how far a call has come."""

Job = TypeVar("Job")
Done = TypeVar("Done")

POLL = 0.25
"""Seconds before an executing query is asked for again; MAST holds the answer back for some seconds itself."""

LONGEST_ANSWER = 512 * 1024 * 1024
"""Bytes of one answer at most: a page of 50,000 rows has 75 MB."""

_PIECE = 1 << 16
_UNKNOWN = 3  # tries where no address is known for MAST's name: a resolver that was busy has recovered within 2 s
_WITHOUT = (
    "Without MAST, file names, rootnames and mast: URIs still resolve by rule (hst_cloud.resolve), "
    "and hst_cloud.open reads them from the bucket."
)


def clock_for(deadline: float | str | u.Quantity | None) -> Clock:
    """Start the clock of one call, with MAST's policy and the caller's deadline (None: the policy's own).

    Raises
    ------
    QueryError
        The deadline is no positive time.
    """
    if deadline is None:
        return Clock(MAST)
    try:
        seconds = float(u.Quantity(deadline, u.s, copy=None).value)
    except (TypeError, ValueError, u.UnitsError) as err:
        message = f"deadline={deadline!r} is no time; give seconds, or a Quantity such as 2 * u.min"
        raise QueryError(message) from err
    if not seconds > 0:
        message = f"deadline={deadline!r} is no positive time; give seconds, or a Quantity such as 2 * u.min"
        raise QueryError(message)
    return Clock(replace(MAST, deadline=seconds))


class PatientAdapter(HTTPAdapter):
    """Sends each request until it is answered, the tries run out or the call is past its deadline.

    Parameters
    ----------
    clock : Clock
        The tries and the time of the call; one for all sessions of a call.
    stop : threading.Event, optional
        Once set, nothing more is sent: the call was given up.
    """

    def __init__(self, clock: Clock, stop: threading.Event | None = None) -> None:
        super().__init__(max_retries=0)
        self.clock = clock
        self.stop = stop or threading.Event()
        self.asked: str | bytes | None = None

    def send(  # noqa: PLR0917 - the signature is that of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002, ARG002 - the adapter's signature; an answer is always read whole
        timeout: object = None,  # noqa: ARG002 - the policy's are used
        verify: bool | str = True,  # noqa: FBT001, FBT002 - the adapter's signature
        cert: str | bytes | tuple[str | bytes, str | bytes] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send `request`, again where that may help, and return its answer with the body read."""
        problem = "nothing was sent"
        if request.method == "POST" and request.body is not None and request.body == self.asked:
            problem = "the query is still executing; narrower criteria make it faster"
            self._pause(min(POLL, self.clock.left))
        self.asked = request.body
        _keep_secrets(request)
        for tried in count(1):
            if self.clock.left <= 0 or self.stop.is_set():
                raise _unavailable(request, f"no answer within {self.clock.policy.deadline:g} s ({problem})", tried - 1)
            retry_after, page = None, False
            try:
                with spending(source_of(_root(request)), size=None, what=_root(request)) as paid:
                    response = super().send(
                        request, stream=True, timeout=self._timeout(), verify=verify, cert=cert, proxies=proxies
                    )
                    self._read(response, paid)
            except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
                raise  # the same try would fail in the same way
            except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as err:
                problem = cause_of(err)
                _check_name(request, err, tried)
            else:
                _check_redirect(response)
                page = response.status_code == HTTPStatus.OK and _is_page(response.content)
                if response.status_code not in RETRIED and not page:
                    return response
                problem = f"HTTP {response.status_code}: {excerpt(response.text)}"
                retry_after = response.headers.get("Retry-After")
            wait = self.clock.wait(tried, retry_after)
            if wait is None and page:
                return response  # whoever reads it says what it is
            if wait is None:
                raise _unavailable(request, problem, tried)
            self._pause(wait)
        raise AssertionError  # count() does not end

    def _timeout(self) -> tuple[float, float]:
        policy, left = self.clock.policy, max(self.clock.left, 0.001)  # zero would be refused as a time-out
        return min(policy.connect, left), min(policy.read, left)

    def _pause(self, seconds: float) -> None:
        self.stop.wait(seconds)

    def _read(self, response: requests.Response, paid: Receipt) -> None:
        """Read the whole body within the time of one try; a read of one piece ends at the socket's time-out."""
        latest = self.clock.elapsed + self.clock.attempt
        pieces, size = [], 0
        # read1 gives what has come; read and iter_content wait for a full piece, however slowly it drips
        # and of a body that no budget has room for, one byte tells that it is there
        while piece := response.raw.read1(max(1, paid.room(_PIECE)), decode_content=True):
            pieces.append(piece)
            size += len(piece)
            try:
                paid.got(len(piece))
            except BudgetExceededError:
                response.close()
                raise
            if size > LONGEST_ANSWER:
                response.close()
                message = (
                    f"MAST at {_root(response.request)} answered with more than {LONGEST_ANSWER} bytes: expected a "
                    "page of rows. Ask for less at a time."
                )
                raise ArchiveAnswerError(message, url=response.url)
            if self.clock.elapsed > latest:
                response.close()
                message = f"an answer of which {size} bytes came in {self.clock.elapsed:.0f} s"
                raise requests.Timeout(message)
        response.raw.release_conn()
        response._content = b"".join(pieces)  # noqa: SLF001 - where requests keeps a body that was read; tested


def _root(request: requests.PreparedRequest) -> str:
    parts = urlsplit(request.url or "")
    return f"{parts.scheme}://{parts.netloc}"


def _check_redirect(response: requests.Response) -> None:
    """Raise if MAST sends us to somebody else, who would be believed, and be told what was meant for MAST.

    Raises
    ------
    ArchiveAnswerError
        It does.
    """
    if not response.is_redirect:
        return
    told = response.headers["Location"]
    here, there = urlsplit(response.url), urlsplit(urljoin(response.url, told))
    same = (there.hostname, there.port) == (here.hostname, here.port) and there.scheme == here.scheme
    safer = there.hostname == here.hostname and there.scheme == "https" and there.port in {None, 443}
    if not same and not safer:
        message = (
            f"MAST at {here.scheme}://{here.netloc} redirects to another place, {excerpt(told)!r}, which is not asked: "
            "expected an answer. Where MAST has moved, name its address in mast=."
        )
        raise ArchiveAnswerError(message, url=response.url)


def _keep_secrets(request: requests.PreparedRequest) -> None:
    """Take a token, a password of ``.netrc`` or a cookie from a request that does not go to MAST over TLS."""
    where = urlsplit(request.url or "")
    host = where.hostname or ""
    if where.scheme != "https" or not (host == "mast.stsci.edu" or host.endswith(".mast.stsci.edu")):
        for name in ("Authorization", "Cookie"):
            request.headers.pop(name, None)


def _check_name(request: requests.PreparedRequest, err: Exception, tried: int) -> None:
    """Raise if nobody knows an address for MAST's name, and it was asked for often enough.

    Raises
    ------
    ArchiveUnavailableError
        So it is.
    """
    reason = getattr(next(iter(err.args), None), "reason", None)
    if tried >= _UNKNOWN and isinstance(reason, urllib3.exceptions.NameResolutionError):
        raise _unavailable(request, cause_of(err), tried) from err


def _is_page(body: bytes) -> bool:
    """Tell whether an answer is a page for people, as under maintenance: MAST's services answer with JSON alone."""
    return body[:400].lstrip()[:1] == b"<"


def new_session(clock: Clock, stop: threading.Event | None = None) -> requests.Session:
    """Return a session whose every request is sent patiently."""
    return patient(requests.Session(), clock, stop)


def patient(session: requests.Session, clock: Clock, stop: threading.Event | None = None) -> requests.Session:
    """Mount one `PatientAdapter` for all addresses on `session`, and return it."""
    adapter = PatientAdapter(clock, stop)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def answer_of(response: requests.Response) -> object:
    """Return the JSON of an answer.

    Raises
    ------
    ArchiveAnswerError
        An error status, or a body that is no JSON, such as the page of a service under maintenance.
    """
    try:
        response.raise_for_status()
        answer: object = response.json()
    except requests.RequestException as err:
        raise translated(err, response.url) from err
    return answer


def translated(err: Exception, url: str) -> ArchiveError:
    """Return our error for one of `requests` or of the builtins that ``astroquery`` raises."""
    if isinstance(err, ArchiveError):
        return err
    if isinstance(err, requests.exceptions.JSONDecodeError):
        message = (
            f"MAST at {url} answered with something that is no JSON: {excerpt(err.doc)!r}. "
            f"Where this is a page about maintenance, try again later. {_WITHOUT}"
        )
        return ArchiveAnswerError(message, url=url)
    if isinstance(err, requests.HTTPError) and err.response is not None:
        said = excerpt(err.response.text)
        message = f"MAST at {url} refused the request: HTTP {err.response.status_code}: {said!r}"
        return ArchiveAnswerError(message, url=url)
    if isinstance(err, (requests.RequestException, TimeoutError)):
        return ArchiveUnavailableError(f"MAST at {url} can't be asked: {cause_of(err)}. {_WITHOUT}", url=url)
    message = f"MAST at {url} answered in a shape that can't be read: {type(err).__name__}: {cause_of(err)}"
    return ArchiveAnswerError(message, url=url)


def excerpt(text: str | bytes) -> str:
    """Return the beginning of `text` on one line."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text[:400]).split())[:200]


def cause_of(err: BaseException) -> str:
    """Return what an error says, of one of urllib3's pool that gave up what it gave up for."""
    why = getattr(next(iter(err.args), None), "reason", None) or err
    return excerpt(str(why).partition("\n")[0]) or type(err).__name__


def _unavailable(request: requests.PreparedRequest, problem: str, sent: int) -> ArchiveUnavailableError:
    url = (request.url or "").partition("?")[0]
    times = "once" if sent == 1 else f"{sent} times"
    message = f"MAST at {url} is not available: {problem}; asked {times}. {_WITHOUT}"
    return ArchiveUnavailableError(message, url=url, attempts=sent)


def in_parallel(
    ask: Callable[[Job, threading.Event], Done], jobs: Sequence[Job], *, progress: Watcher | None, what: str
) -> list[Done]:
    """Return what `ask` returns for each job, as many at a time as the policy allows; the first failure ends all."""
    if not jobs:
        return []
    stop = threading.Event()
    pool = ThreadPoolExecutor(min(MAST.in_flight, len(jobs)), thread_name_prefix="hst-cloud-mast")
    try:
        # Each in a copy of the caller's context, which holds the budgets.
        futures = [pool.submit(contextvars.copy_context().run, ask, job, stop) for job in jobs]
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            if progress:
                progress(Progress(what=what, done=done, total=len(jobs)))
        return [future.result() for future in futures]
    finally:
        stop.set()  # on the way out of an error or Ctrl-C, nothing more is sent
        pool.shutdown(wait=False, cancel_futures=True)
