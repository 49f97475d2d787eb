"""Training code as it stands: run, watched, and each gradient that reaches a variable held against a reference."""
