"""Codes of clustering.sh -> a table of clustering accuracy beside the paper's (MNIST).
usage: TEST_IMAGES TEST_LABELS DIRECTORY

Codes+ are the codes without negative elements, scaled to sum to 1. The clusters are matched to the labels by the
Hungarian method. Spectral clustering is on the symmetric graph of 1,000 nearest neighbours."""
import gzip
import os
import sys

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import eigsh

images, labels, out = sys.argv[1:4]
paper = {"pixels": (54.46, 63.04), "element": (54.14, 55.49), "element+": (60.94, 56.98),
         "group": (74.5, 79.4), "group+": (80.09, 80.27)}


def idx(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        data = file.read()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])


def accuracy(clusters, y):
    count = np.zeros((clusters.max() + 1, y.max() + 1))
    np.add.at(count, (clusters, y), 1)
    return 100 * count[linear_sum_assignment(-count)].sum() / len(y)


def distances(x, centres):
    return np.maximum((x**2).sum(axis=1)[:, None] - 2 * x @ centres.T + (centres**2).sum(axis=1), 0)


def k_means(x, k, restarts=4, rounds=100):
    """k-means++ starts; the run of the smallest sum of squares."""
    random, best = np.random.default_rng(0), (np.inf, None)
    for _ in range(restarts):
        centres = x[random.integers(len(x))][None]
        while len(centres) < k:
            nearest = distances(x, centres).min(axis=1).astype(float)
            total = nearest.sum()
            p = nearest / total if total > 0 else None
            centres = np.vstack([centres, x[random.choice(len(x), p=p)]])
        for _ in range(rounds):
            clusters = np.argmin(distances(x, centres), axis=1)
            moved = np.array([x[clusters == c].mean(axis=0) if np.any(clusters == c) else centres[c] for c in range(k)])
            if np.allclose(moved, centres, atol=1e-6):
                break
            centres = moved
        cost = distances(x, centres).min(axis=1).sum()
        if cost < best[0]:
            best = cost, clusters
    return best[1]


def spectral(x, k, neighbours=1000):
    rows = []
    for part in np.array_split(np.arange(len(x)), max(1, len(x) // 500)):
        d = distances(x[part], x)
        rows.append(np.argpartition(d, min(neighbours, len(x) - 1), axis=1)[:, :neighbours])
    columns = np.vstack(rows)
    graph = csr_matrix((np.ones(columns.size, np.float32), columns.ravel(),
                        np.arange(0, columns.size + 1, columns.shape[1])), shape=(len(x), len(x)))
    graph = 0.5 * (graph + graph.T)
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    _, vectors = eigsh(scale @ graph @ scale, k=k, which="LA", v0=np.ones(len(x)))
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return k_means(vectors, k)


y = idx(labels)
x = idx(images).reshape(len(y), -1).astype(np.float32) / 255
k = int(y.max()) + 1
print(f"{'':18}{'k-means':>10}{'spectral':>10}   paper, MNIST{'':6}active groups   loudest group is the cluster")


def row(name, values, rest=""):
    known = f"{paper[name][0]:6.2f} {paper[name][1]:6.2f}" if name in paper else f"{'':13}"
    print(f"{name:18}{accuracy(k_means(values, k), y):10.2f}{accuracy(spectral(values, k), y):10.2f}   {known}{rest}",
          flush=True)


row("pixels", x)
for model in ("group", "group_literal", "one_sided", "element", "element_literal", "relu", "relu_literal"):
    path = f"{out}/{model}/z.npy"
    if not os.path.exists(path):
        continue
    z = np.load(path)
    norms = np.linalg.norm(z.reshape(len(y), 10, -1), axis=2)
    rest = ""
    if model.startswith("group") or model == "one_sided":
        rest = f"{np.mean(np.sum(norms > 0, axis=1)):18.2f}{accuracy(np.argmax(norms, axis=1), y):30.2f}"
    row(model, z, rest)
    plus = np.maximum(z, 0)
    row(model + "+", plus / np.maximum(plus.sum(axis=1, keepdims=True), 1e-12))
