"""One function over many products: threads here, Dask beyond one machine; and images as lazy arrays of Dask's."""
