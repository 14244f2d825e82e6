"""Handwritten digits, classified by a perceptron with one hidden layer."""
