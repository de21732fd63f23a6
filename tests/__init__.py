"""The tests; see docs/contributing.md for which folder holds what."""
