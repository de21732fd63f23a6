"""Pure functions from catalogs to plans."""
