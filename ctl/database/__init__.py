"""The door to PostgreSQL."""
