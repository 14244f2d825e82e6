"""Plans which trials a run needs, and runs them: local processes behind a small interface."""
