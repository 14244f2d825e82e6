"""Prediction of molecular properties with a graph network."""
