"""PyTorch building blocks that two or more workloads share."""
