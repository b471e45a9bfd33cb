"""``python -m hst_cloud.cli`` is ``hst-cloud``."""

from hst_cloud.cli import main

main()
