"""The same faults, met by this package and by today's clients: what comes of one read, and what it takes."""
