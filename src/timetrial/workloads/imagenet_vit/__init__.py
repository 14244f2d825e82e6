"""ImageNet, classified by a vision transformer: ViT-S/16."""
