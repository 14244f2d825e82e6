"""Checks a stranger's submission: what would break it, and what the benchmark's rules forbid."""
