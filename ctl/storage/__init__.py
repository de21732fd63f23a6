"""The door to a registry's storage, one file per driver."""
