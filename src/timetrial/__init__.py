"""timetrial: which training algorithm trains neural networks fastest, and how sure can we be?

What users may import is `timetrial.api` (everything a submission needs) and the names below.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
