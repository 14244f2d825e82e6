"""Shifted and noisy handwritten digits, classified by a small residual network with batch norm."""
