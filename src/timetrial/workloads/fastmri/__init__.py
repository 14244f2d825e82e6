"""Reconstruction of accelerated knee MRI with a U-Net."""
