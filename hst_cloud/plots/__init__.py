"""Pictures: quick looks at products, what the verbs return, and which bytes of a file were read.

`quicklook` draws a product, or an open one, from as few of its bytes as will do; `image`, `spectrum`, `counts` and
`events` draw what it finds in there. `cutout`, `cutouts`, `mosaic` and `spectra` draw what the verbs of these names
return. `layout` draws a map of a file and of what was read of it.

Each returns a `matplotlib.figure.Figure` that belongs to nobody: pyplot and its global state are not used, so that
they work in threads, on servers and in notebooks alike. ``figure.savefig("look.png")`` writes a file.

matplotlib comes with the extra ``plot``, and is imported when something is drawn.
"""

from __future__ import annotations

from hst_cloud.drawable import Picture, kind_of
from hst_cloud.plots.maps import layout
from hst_cloud.plots.quicklooks import counts, events, image, quicklook, spectrum
from hst_cloud.plots.results import cutout, cutouts, mosaic, spectra

__all__ = [
    "Picture",
    "counts",
    "cutout",
    "cutouts",
    "events",
    "image",
    "kind_of",
    "layout",
    "mosaic",
    "quicklook",
    "spectra",
    "spectrum",
]
