"""Methods that differentiate each segment and chain the results."""
