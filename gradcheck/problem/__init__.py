"""What every method starts from: model, plan, batch, loss and snapshot, within the memory budget; and its twins."""
