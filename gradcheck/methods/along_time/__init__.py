"""Methods and figures of a split along the time axis."""
