"""Time-to-target, performance profiles, scores, uncertainty: pure functions on tables."""
