def gradients(:
