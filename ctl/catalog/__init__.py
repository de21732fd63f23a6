"""What a registry holds, as values, and its readers."""
