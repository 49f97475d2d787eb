import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(100)

num_classes = 3
rng = np.random.default_rng(1)
x_train = rng.normal(size=(40, 8, 8, 1)).astype("float32")
y_train = keras.utils.to_categorical(rng.integers(0, num_classes, 40), num_classes)
for image, label in zip(x_train, y_train.argmax(axis=1)):
    image[label * 2 : label * 2 + 2] += 1.5

model = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        layers.Conv2D(6, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(num_classes, activation="softmax"),
    ]
)
model.compile(
    loss="categorical_crossentropy",
    optimizer=keras.optimizers.Adam(0.01, clipnorm=1.0),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=8, epochs=2, validation_split=0.2, verbose=2)
score = model.evaluate(x_train, y_train, verbose=0)
print("Train loss:", score[0])
print("Train accuracy:", score[1])
