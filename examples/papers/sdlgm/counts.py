"""How many features are active, by class of Fashion-MNIST, and the entropy of the count over all pictures.
usage: LABELS.gz DIRECTORY, where `spmc encode` of the test pictures left size.npy and active.npy"""
import gzip
import sys

import numpy as np

with gzip.open(sys.argv[1]) as file:
    labels = np.frombuffer(file.read(), np.uint8, offset=8)
size = np.load(f"{sys.argv[2]}/size.npy").reshape(len(labels))
members = np.load(f"{sys.argv[2]}/active.npy").sum(axis=1)
assert np.array_equal(members, np.round(size)), "a code has another number of features than its count says"
names = "T-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()
for c, name in enumerate(names):
    print(f"{name:10} {size[labels == c].mean():6.2f} +- {size[labels == c].std():.2f}")
share = np.bincount(members.astype(int)) / len(members)
share = share[share > 0]
print(f"all        {size.mean():6.2f}, from {size.min():.0f} to {size.max():.0f}; entropy of the count {-np.sum(share * np.log(share)):.2f} nats")
