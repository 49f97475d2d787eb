"""The same Keras model under another backend, in a process of its own that imports no TensorFlow.

`asking` is this process's side, `answering` the other's. The process starts when a config names the engine, stays for
the configs that follow, and ends with the one that started it.
"""
