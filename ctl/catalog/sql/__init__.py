"""The catalog database's named queries."""
