"""One file per effect."""
