"""Recipes: ordered steps and scopes, the one runner that runs them, and its journal."""
