"""Following the passes call by call, to the layer where something goes wrong."""
