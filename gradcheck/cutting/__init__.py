"""A built model as a flat graph of calls, and its segments."""
