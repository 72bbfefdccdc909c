"""probe.py FASHION RUN...: how well a linear layer tells the classes of Fashion-MNIST from the means of a run's codes.

The encoder is read from RUN/model.safetensors. Two probes: the one of the reproduction, a linear layer and a ReLU before
the cross-entropy, 20 epochs of SGD at 1e-3 in batches of 32, without momentum and with 0.9; and a linear layer trained to
convergence.
"""
import gzip
import json
import struct
import sys

import numpy as np


def idx(path, header):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def tensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            found[name] = np.frombuffer(data[first:last], np.float32).reshape(entry["shape"])
    return found


def means(run, images):
    t = tensors(run + "/model.safetensors")
    hidden = np.maximum(images @ t["q.h.dense.W"].T + t["q.h.dense.b"], 0)
    return hidden @ t["q.mu.dense.W"].T + t["q.mu.dense.b"]


def softmax(scores):
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)


def start(random, inputs):
    bound = 1 / np.sqrt(inputs)
    return random.uniform(-bound, bound, (10, inputs)), random.uniform(-bound, bound, 10)


def their_probe(codes, labels, test, answers, momentum):
    random = np.random.default_rng(1)
    W, b = start(random, codes.shape[1])
    speed_W, speed_b = np.zeros_like(W), np.zeros_like(b)
    for _ in range(20):
        order = random.permutation(len(codes))
        for rows in np.array_split(order, len(order) // 32):
            x = codes[rows]
            scores = x @ W.T + b
            slope = softmax(np.maximum(scores, 0))
            slope[np.arange(len(rows)), labels[rows]] -= 1
            slope = slope * (scores > 0) / len(rows)
            speed_W = momentum * speed_W + slope.T @ x
            speed_b = momentum * speed_b + slope.sum(0)
            W = W - 1e-3 * speed_W
            b = b - 1e-3 * speed_b
    return 100 * np.mean(np.argmax(np.maximum(test @ W.T + b, 0), 1) == answers)


def converged_probe(codes, labels, test, answers):
    """Adam on the standardised means, the step falling to nothing; the likelihood is concave, so it ends in one place."""
    middle, spread = codes.mean(0), codes.std(0) + 1e-6
    codes, test = (codes - middle) / spread, (test - middle) / spread
    random = np.random.default_rng(1)
    W = np.zeros((10, codes.shape[1] + 1))
    codes, test = np.hstack([codes, np.ones((len(codes), 1))]), np.hstack([test, np.ones((len(test), 1))])
    first, second, step, epochs = np.zeros_like(W), np.zeros_like(W), 0, 60
    for epoch in range(epochs):
        order = random.permutation(len(codes))
        for rows in np.array_split(order, len(order) // 500):
            step += 1
            slope = softmax(codes[rows] @ W.T)
            slope[np.arange(len(rows)), labels[rows]] -= 1
            gradient = slope.T @ codes[rows] / len(rows)
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            rate = 0.02 * (1 - epoch / epochs) ** 2
            W = W - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return 100 * np.mean(np.argmax(test @ W.T, 1) == answers)


def main():
    folder, runs = sys.argv[1], sys.argv[2:]
    train = idx(folder + "/train-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) / 255
    test = idx(folder + "/t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) / 255
    labels = idx(folder + "/train-labels-idx1-ubyte.gz", 8).astype(int)
    answers = idx(folder + "/t10k-labels-idx1-ubyte.gz", 8).astype(int)
    for run in runs:
        codes, held = means(run, train).astype(float), means(run, test).astype(float)
        plain, momentum = (their_probe(codes, labels, held, answers, m) for m in (0, 0.9))
        converged = converged_probe(codes, labels, held, answers)
        name = run.rstrip("/").split("/")[-1]
        print(f"{name:22} accuracy by their probe {plain:.1f}%, with momentum {momentum:.1f}%, converged {converged:.1f}%", flush=True)


main()
