"""Click-through-rate prediction on Criteo 1TB with a small DLRM."""
