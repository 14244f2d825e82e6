"""Streaming evaluations: each sees the batches of a split one by one and adds up sums."""
