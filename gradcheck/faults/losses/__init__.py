"""GC501 to GC504: mistakes in added losses and in factors of the loss."""
