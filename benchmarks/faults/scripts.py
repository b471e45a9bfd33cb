"""What goes wrong: one fault for each row of the table, as data."""

from __future__ import annotations

from hst_cloud.testing import Fault
from hst_cloud.values import ByteRange

KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
SHIFTED = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flt.fits"
"""An object whose bytes are those of the other one, 2880 further on."""
SIZE = 8_000_000
WANTED = ByteRange(1_000_000, 1_200_000)
"""What is read: the tile of an image, or some hundred rows of a table."""

HALF = WANTED.size // 2

FAULTS = {
    "none": None,
    "connection reset before the head, once": Fault(reset="before", times=1),
    "connection reset within the body, once": Fault(reset=HALF, times=1),
    "body cut short, once": Fault(drop=HALF, times=1),
    "body cut short after 10 kB, always": Fault(drop=10_000),
    "500 InternalError, twice": Fault(status=500, error="InternalError", times=2),
    "503 SlowDown, always": Fault(status=503, error="SlowDown"),
    "an error document under status 200, once": Fault(status=200, error="InternalError", times=1),
    "no answer (black hole), once": Fault(stall="before", times=1),
    "body stands still, once": Fault(stall=HALF, times=1),
    "body drips at 1 kB/s, once": Fault(drip=1000.0, times=1),
    "range ignored: 200 and the whole object": Fault(whole=True),
    "other bytes, and Content-Range says so": Fault(
        bytes_of=SHIFTED, headers={"Content-Range": "bytes {start+2880}-{last+2880}/{size}"}
    ),
    "part of the bytes, and all headers agree": Fault(
        slice=(0, HALF), headers={"Content-Range": f"bytes {WANTED.start}-{WANTED.start + HALF - 1}/{{size}}"}
    ),
    "one bit flipped": Fault(flip=HALF),
}
"""By what stands in the table; each is met by GET requests alone, so that a client may look at an object first."""
