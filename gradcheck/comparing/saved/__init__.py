"""References that outlive their process: the file, what belongs to it, and the reference that is read from it."""
