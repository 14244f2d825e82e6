"""placeholder"""
def targets() -> None:
    """x."""
