"""Whether what was handed to an update is right, and the mistake by its name."""
