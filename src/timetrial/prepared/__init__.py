"""Datasets prepared once from their public distributions: made in parts that are never torn, checked, and read fast."""
