"""What the figures of a mismatch show by themselves, before anything is run again."""
