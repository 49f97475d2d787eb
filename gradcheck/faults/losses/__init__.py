"""GC501 to GC504: mistakes in what is added to the loss, and in what it is multiplied by."""
