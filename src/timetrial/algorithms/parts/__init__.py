"""What several training algorithms are built from, each part once."""
