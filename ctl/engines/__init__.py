"""One file per registry software; pure, runs nothing."""
