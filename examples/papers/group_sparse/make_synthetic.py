"""Data of the synthetic experiment of Theodosis et al. 2021, section 5.1 -> DIRECTORY/A_true.npy (950 x 1000, unit
columns), clean.npy (10,000 signals without noise) and codes.npy (what they are made of). usage: DIRECTORY [SEED]"""
import sys

import numpy as np

n, groups, size, rows, active = 950, 500, 2, 10000, 3
random = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
A = random.normal(size=(n, groups * size))
A /= np.linalg.norm(A, axis=0)
codes = np.zeros((rows, groups, size), np.float32)
for row in codes:
    direction = random.normal(size=(active, size))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    row[random.choice(groups, active, replace=False)] = direction * random.uniform(4, 5, size=(active, 1))
codes = codes.reshape(rows, groups * size)
for name, values in {"A_true": A, "clean": codes @ A.T, "codes": codes}.items():
    np.save(f"{sys.argv[1]}/{name}.npy", values.astype(np.float32))
