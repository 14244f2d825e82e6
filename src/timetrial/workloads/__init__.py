"""Workloads: dataset, model, loss and evaluation metric; one folder each, what two share beside them."""
