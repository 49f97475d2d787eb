import keras, numpy as np

keras.utils.set_random_seed(32)
m = keras.Sequential(
    [keras.Input((6,)), keras.layers.Dense(6, "gelu"), keras.layers.Dropout(0.2, seed=3), keras.layers.Dense(1)]
)
m.compile(keras.optimizers.Lion(1e-3), "huber", steps_per_execution=2, jit_compile=False)
x = np.random.randn(32, 6).astype("float32")
print(m.fit(x, x.sum(1), batch_size=8, epochs=2, verbose=0).history)
