#!/usr/bin/env python3
"""How sparse the codes of runs are, and how well they reconstruct.

usage: compare_codes.py DATA.npy RUN CODES.npy [RUN CODES.npy ...]

Gini is that of |z| over the latents of a datum, 0 where all are equal and towards 1 where one is alone, the mean over rows.
"""
import os
import sys

import numpy as np

from read_run import tensors


def gini(z):
    sums = np.cumsum(np.sort(np.abs(z), axis=1), axis=1)
    h = z.shape[1]
    return np.mean((h + 1 - 2 * sums.sum(axis=1) / np.maximum(sums[:, -1], 1e-300)) / h)


def main():
    x = np.load(sys.argv[1])
    x = x.reshape(len(x), -1)
    print("run          |z| > 0.05   Gini   error a pixel   pixels' mean square")
    for run, codes in zip(sys.argv[2::2], sys.argv[3::2]):
        z = np.load(codes)[: len(x)].astype(float)
        w = tensors(os.path.join(run, "model.safetensors"))["W"].astype(float)
        error = np.mean((x - z @ w.T) ** 2)
        print(f"{os.path.basename(run):12} {np.mean((np.abs(z) > 0.05).sum(axis=1)):10.1f}  {gini(z):5.3f}"
              f"   {error:13.5f}   {np.mean(x.astype(float) ** 2):19.5f}")


main()
