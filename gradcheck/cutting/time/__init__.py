"""Cutting along the time axis: the model unrolled, chunk by chunk."""
