"""The same model under another backend of Keras: an automatic differentiation written by other people."""
