#!/usr/bin/env python3
"""The best mean log likelihood of probabilistic PCA without a mean, in closed form (Tipping and Bishop 1999).

usage: ppca.py DATA.npy LATENTS
"""
import sys

import numpy as np


def main():
    x = np.load(sys.argv[1]).astype(float)
    x = x.reshape(len(x), -1)
    latents, d = int(sys.argv[2]), x.shape[1]
    values = np.sort(np.linalg.eigvalsh(x.T @ x / len(x)))[::-1]
    noise = values[latents:].mean()
    best = -0.5 * (np.log(values[:latents]).sum() + (d - latents) * np.log(noise) + d * np.log(2 * np.pi) + d)
    print(f"probabilistic PCA, {latents} latents: {best:.4f} nats a datum, noise variance {noise:.6f}")


main()
