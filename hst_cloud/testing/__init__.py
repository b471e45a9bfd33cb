"""An archive of your own, to test with: a folder served as bucket and MAST, and data to put there."""
