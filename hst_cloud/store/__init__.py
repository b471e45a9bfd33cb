"""From object keys to bytes."""
