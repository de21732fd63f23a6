"""The site: from YAML to checked values."""
