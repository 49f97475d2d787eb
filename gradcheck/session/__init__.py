"""The run of one config up to its verdict, and the other entry points: a plan, one layer, mutation."""
