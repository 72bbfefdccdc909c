#!/usr/bin/env python3
"""How many bars each run found, and its objective beside that of the true bars on the same data.

usage: compare_bars.py SIDE LEARNED_RUN TRUTH_RUN [LEARNED_RUN TRUTH_RUN ...]

A bar is found when a column of W has |cosine| > 0.9 with it.
"""
import os
import sys

import numpy as np

from make_bars import bars
from read_run import metrics, tensors


def best_cosines(w, side):
    truth = bars(side)
    truth = truth / np.linalg.norm(truth, axis=0)
    w = w / np.maximum(np.linalg.norm(w, axis=0), 1e-12)
    return np.abs(truth.T @ w).max(axis=1)


def main():
    side = int(sys.argv[1])
    found_all, gaps = 0, []
    print("run              bars  mean |cos|   learned     truth     gap  epochs  noise^2  scales min/median/max")
    for learned, truth in zip(sys.argv[2::2], sys.argv[3::2]):
        saved = tensors(os.path.join(learned, "model.safetensors"))
        cosines = best_cosines(saved["W"].astype(float), side)
        here, there = metrics(learned), metrics(truth)
        gap = here[-1]["objective"] - there[-1]["objective"]
        found = int((cosines > 0.9).sum())
        scale = np.sort(saved["scale"].astype(float))
        print(f"{os.path.basename(learned):16} {found:2}/{2 * side}  {cosines.mean():10.3f}  {here[-1]['objective']:8.4f}"
              f"  {there[-1]['objective']:8.4f}  {gap:+.4f}  {len(here):6}  {float(saved['noise']) ** 2:.5f}"
              f"  {scale[0]:.3f} {np.median(scale):.3f} {scale[-1]:.3f}")
        if found == 2 * side:
            found_all += 1
            gaps.append(gap)
    runs = (len(sys.argv) - 2) // 2
    print(f"all bars in {found_all} of {runs} runs"
          + (f"; learned minus truth there from {min(gaps):+.4f} to {max(gaps):+.4f}" if gaps else ""))


if __name__ == "__main__":
    main()
