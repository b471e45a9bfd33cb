"""Programs that measure what decisions and promises rest on: see README.rst."""
