"""Search spaces as JSON, and the points that are drawn from them."""
