"""Batch sizes of the submission in this folder."""


def batch_size(workload_name):
    return 8
