"""GC501 to GC507: mistakes in added losses, in factors of the loss, and in its weights and masks."""
