#!/usr/bin/env python3
"""Square patches at random places of images [n, height, width] in an .npy file -> rows of an .npy file.

usage: cut_patches.py IMAGES.npy OUT.npy [--seed N] [--rows N] [--side N]
"""
import argparse

import numpy as np


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=40 * 512)
    parser.add_argument("--side", type=int, default=16)
    a = parser.parse_args()
    images = np.load(a.images)
    random = np.random.default_rng(a.seed)
    which = random.integers(0, images.shape[0], a.rows)
    top = random.integers(0, images.shape[1] - a.side, a.rows)
    left = random.integers(0, images.shape[2] - a.side, a.rows)
    patches = np.stack([images[i, t : t + a.side, l : l + a.side] for i, t, l in zip(which, top, left)])
    np.save(a.out, patches.reshape(a.rows, -1).astype(np.float32))


if __name__ == "__main__":
    main()
