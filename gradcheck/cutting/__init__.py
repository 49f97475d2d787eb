"""A built model as a flat graph of calls, and the segments into which it is cut."""
