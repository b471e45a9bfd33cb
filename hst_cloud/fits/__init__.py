"""From bytes to HDUs."""
