"""What astronomers came for: tables of keywords, cutouts and spectra, of one product or of many."""
