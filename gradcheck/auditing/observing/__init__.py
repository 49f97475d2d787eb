"""What a script does: tapes, gradient calls, operations, layers, and values from inside compiled functions."""
