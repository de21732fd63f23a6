"""The catalog database's schema, as versioned SQL files."""
