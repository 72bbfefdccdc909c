#!/usr/bin/env python3
"""Bars: x = W z + noise, z Laplace, W's columns the 2 * SIDE vertical and horizontal bars of a square.

usage: make_bars.py OUT.npy [--seed N] [--rows N] [--side N] [--noise SD] [--truth TRUTH.npy]
"""
import argparse

import numpy as np


def bars(side):
    """[side^2, 2 side]: pixel 1 on the bar, 0 elsewhere; vertical ones first."""
    w = np.zeros((side, side, 2 * side))
    for i in range(side):
        w[:, i, i] = 1
        w[i, :, side + i] = 1
    return w.reshape(side * side, 2 * side)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--side", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--truth", help="where W goes")
    a = parser.parse_args()
    random = np.random.default_rng(a.seed)
    w = bars(a.side)
    z = random.laplace(size=(a.rows, w.shape[1]))
    x = z @ w.T + a.noise * random.normal(size=(a.rows, w.shape[0]))
    np.save(a.out, x.astype(np.float32))
    if a.truth:
        np.save(a.truth, w.astype(np.float32))


if __name__ == "__main__":
    main()
