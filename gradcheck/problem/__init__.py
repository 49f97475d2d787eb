"""The input of every method: model, plan, batch, loss and snapshot, within the memory budget; and its twins."""
