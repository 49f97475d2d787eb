"""Evidence from the figures of a mismatch, before anything is run again."""
