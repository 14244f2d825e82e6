"""ImageNet, classified by a bottleneck residual network: ResNet-50."""
