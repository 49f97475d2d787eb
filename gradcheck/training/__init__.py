"""Training runs of several steps: the reference's, and a method's to compare with it."""
