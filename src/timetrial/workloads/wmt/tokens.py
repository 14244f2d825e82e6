"""Token ids with a meaning of their own (spec: workloads/wmt.md, 1)."""

PADDING = 0
"""Padding, and unknown pieces (spec: workloads/wmt.md, 8.3)."""
END_OF_SENTENCE = 2
"""Ends every sentence; 1 would begin one and is not used."""
FIRST_PIECE = 3
"""Least of the tokens that stand for text."""
