"""Fashion-MNIST's test pictures with normal noise of sd 0, 0.3, 0.5 and 0.7, back in [0, 1] -> DIRECTORY/test_SD.npy.
usage: FASHION DIRECTORY"""
import gzip
import sys

import numpy as np

with gzip.open(f"{sys.argv[1]}/t10k-images-idx3-ubyte.gz") as file:
    pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784) / 255
random = np.random.default_rng(0)
for sd in ("0", "0.3", "0.5", "0.7"):
    noisy = np.clip(pixels + float(sd) * random.normal(size=pixels.shape), 0, 1)
    np.save(f"{sys.argv[2]}/test_{sd}.npy", noisy.astype(np.float32))
