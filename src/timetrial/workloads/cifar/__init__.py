"""CIFAR-10, classified by a small residual network: a development workload."""
