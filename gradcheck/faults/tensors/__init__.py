"""GC401 to GC406: right gradients at the wrong variable, or in the wrong form."""
