"""The way of a cotangent: forward through the segments, backward between them, micro-batches in a schedule."""
