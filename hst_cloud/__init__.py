"""The public Hubble archive in the cloud, as if it were a local disk."""

__all__: list[str] = []
