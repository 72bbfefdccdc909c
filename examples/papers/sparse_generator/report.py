"""Codes and reconstructions of run.sh -> a table, and DIRECTORY/traversal.png. usage: FASHION DIRECTORY

Per model: mean squared error a pixel on clean test pictures, codes with |z| above 0.2, 0.5 and 1, and the accuracy of one
linear softmax layer, trained on clean training pictures, on reconstructions of noisy test pictures."""
import gzip
import json
import os
import struct
import sys
import zlib

import numpy as np

fashion, out = sys.argv[1:3]
models = ["slab_1", "slab_0.5", "slab_0.01", "dense", "persistent", "beta_vae", "vsc"]
noises = ["0", "0.3", "0.5", "0.7"]


def idx(name, header):
    with gzip.open(f"{fashion}/{name}") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def classifier(x, y, epochs=20, batch=100, rate=1e-3):
    """Softmax regression by Adam."""
    random, weights = np.random.default_rng(0), np.zeros((785, 10))
    first, second, step = np.zeros_like(weights), np.zeros_like(weights), 0
    x = np.hstack([x, np.ones((len(x), 1))]).astype(np.float32)
    for _ in range(epochs):
        for rows in np.array_split(random.permutation(len(x)), len(x) // batch):
            logits = x[rows] @ weights
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(rows)), y[rows]] -= 1
            gradient, step = x[rows].T @ p / len(rows), step + 1
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            weights -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return lambda x: np.argmax(x @ weights[:-1] + weights[-1], axis=1)


def tensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, body = json.loads(file.read(size)), file.read()
    return {name: np.frombuffer(body[t["data_offsets"][0]:t["data_offsets"][1]], np.float32).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__" and t["dtype"] == "F32"}


def write_png(path, gray):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + line.tobytes() for line in (255 * np.clip(gray, 0, 1)).astype(np.uint8))
    head = struct.pack(">IIBBBBB", gray.shape[1], gray.shape[0], 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def errors_and_codes(directory):
    z, back = np.load(f"{directory}/z.npy"), np.load(f"{directory}/x.npy").reshape(-1, 784)
    return (f"{np.mean((back - test) ** 2):8.5f}"
            + "".join(f"{np.mean(np.sum(np.abs(z) > t, axis=1)):8.1f}" for t in (0.2, 0.5, 1)))


def traversal(model, codes):
    """Each row: a test picture's code, its strongest element moved from -3 to 3 about where it stands."""
    t = tensors(f"{out}/{model}/model.safetensors")
    w = [t[f"g.mean.{name}"] for name in ("dense.W", "dense.b", "dense2.W", "dense2.b")]
    lines = []
    for z in codes:
        strongest = np.argmax(np.abs(z))
        moved = np.repeat(z[None], 9, axis=0)
        moved[:, strongest] += np.linspace(-3, 3, 9)
        pixels = 1 / (1 + np.exp(-(np.maximum(moved @ w[0].T + w[1], 0) @ w[2].T + w[3])))
        lines.append(np.hstack(list(pixels.reshape(-1, 28, 28))))
    write_png(f"{out}/traversal.png", np.vstack(lines))


x, y = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 784) / 255, idx("train-labels-idx1-ubyte.gz", 8)
test, labels = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784) / 255, idx("t10k-labels-idx1-ubyte.gz", 8)
label = classifier(x, y)
print(f"{'model':12}{'MSE':>8}{'>0.2':>8}{'>0.5':>8}{'>1':>8}   accuracy on reconstructions, noise "
      + ", ".join(noises))
noisy = " ".join(f"{100 * np.mean(label(np.load(f'{out}/test_{n}.npy')) == labels):6.1f}" for n in noises)
print(f"{'(pictures)':44}   {noisy}")
for model in models:
    if not os.path.exists(f"{out}/{model}/test_0.7/x.npy"):
        continue
    back = [np.load(f"{out}/{model}/test_{n}/x.npy").reshape(-1, 784) for n in noises]
    accuracy = " ".join(f"{100 * np.mean(label(b) == labels):6.1f}" for b in back)
    print(f"{model:12}{errors_and_codes(f'{out}/{model}/test_0')}   {accuracy}")
    if os.path.exists(f"{out}/{model}/at_weight_1/x.npy"):
        print(f"{'at weight 1':>12}{errors_and_codes(f'{out}/{model}/at_weight_1')}")
if os.path.exists(f"{out}/slab_0.01/test_0/z.npy"):
    z = np.load(f"{out}/slab_0.01/test_0/z.npy")
    traversal("slab_0.01", z[[np.flatnonzero(labels == c)[0] for c in range(10)]])
    print(f"{out}/traversal.png")
