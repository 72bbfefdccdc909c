"""Runs of synthetic.sh -> a table of the paper's Fig. 3 (1 dB) beside ours. usage: DIRECTORY"""
import csv
import sys

import numpy as np

work = sys.argv[1]
paper = {  # decoded from the vector plots of Fig. 3a, 3b and 3c
    "group": {0: 878.91, 20: 451.98, 40: 199.58, 60: 71.38, 80: 26.51, 100: 12.44, 120: 8.24, 140: 6.96, 160: 6.57,
              180: 6.46, 200: 6.45, 220: 6.46, 240: 6.49, 260: 6.53, 280: 6.55, 300: 6.59},
    "element": {60: 85.52, 80: 38.03, 100: 23.30, 120: 19.69, 140: 19.59, 160: 20.66, 180: 22.25, 200: 24.07,
                220: 25.94, 240: 27.85, 260: 29.71, 280: 31.49, 300: 33.18},
}
loss = {0: 1.0744, 20: 0.7608, 40: 0.6196, 60: 0.5448, 100: 0.5123, 200: 0.5099, 300: 0.5095}  # x 1e-5, group
support = {"group": 99.733, "element": 78.014}


def column(model, name):
    """One value before each step, from 0; the run's last one counts for where it stopped."""
    with open(f"{work}/{model}/metrics.csv") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def row(label, published, found):
    difference = f"{100 * (found / published - 1):+.1f}%"
    print(f"{label:42}{published:>10.4g}{found:>10.4g}{difference:>9}")


print(f"{'1 dB':42}{'paper':>10}{'ours':>10}")
for model in paper:
    error = column(model, "dictionary_error")
    for epoch, published in paper[model].items():
        at = min(epoch, len(error) - 1)  # the last epoch's error stands for the one after it
        if epoch <= len(error):
            row(f"{model}: |A - A*|^2, epoch {epoch}", published, error[at])
values = column("group", "objective")
rows, n = np.load(f"{work}/clean.npy", mmap_mode="r").shape
for epoch, published in loss.items():
    if epoch <= len(values):
        row(f"group: loss x 1e5, epoch {epoch}", published, -2e5 * values[min(epoch, len(values) - 1)] / n / rows)
truth = np.load(f"{work}/codes.npy") != 0
for model in support:
    found = np.load(f"{work}/{model}/z.npy") != 0
    hits = np.sum(truth & found)
    row(f"{model}: support recovered, %", support[model], 100 * hits / truth.sum())
    print(f"{'':4}precision {100 * hits / found.sum():.2f}%, hits / (hits + misses + false ones) "
          f"{100 * hits / np.sum(truth | found):.2f}%, rows exact {100 * np.mean((truth == found).all(axis=1)):.2f}%")
