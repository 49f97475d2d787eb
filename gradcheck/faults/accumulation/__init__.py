"""GC201 to GC206: mistakes in adding up the gradients of micro-batches."""
