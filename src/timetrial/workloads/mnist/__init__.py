"""MNIST, classified by a perceptron with one hidden layer: a development workload."""
