"""Data to put into an archive of your own: real structures, made-up skies.

`make_demo_archive` fills a folder; the modules make single files: `imaging` and `mosaics`, `cos`, `stis`, `sensors`
(FGS) and `support`, each with one function for each kind.
"""

from hst_cloud.testing.demo.folder import make_demo_archive

__all__ = ["make_demo_archive"]
