"""One file per command: flags in, a recipe or a report out."""
