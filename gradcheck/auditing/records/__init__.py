"""Records of the processes of a training: what each saw of the activations between them, in files, and joined."""
