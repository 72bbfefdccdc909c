#!/bin/sh
# The 2020 recipe (persistent noisy chains, 200 codes, Fashion-MNIST) beside the numbers its author logged: squared error
# a pixel in training, after inference and before the update. recipe_2020.sh [DIRECTORY]; SPMC and FASHION may be set.
set -eu
root=$(cd "$(dirname "$0")" && pwd)/../../..
out=${1:-$root/build/recipe_2020}
"${SPMC:-$root/build/spmc}" train "$root/specs/abp_sparse_coding_2020.spm" --seed 28 --force -q --out "$out" \
  --data "x=${FASHION:-/usr/share/datasets/fashion-mnist}/train-images-idx3-ubyte.gz"
awk -F , 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i
    split("0 9 19 29", epochs, " "); split(".02334 .01954 .01935 .01946", paper, " "); split("9.28 14.66 16.00 17.14", norm, " ")
    print "epoch   MSE: logged    ours         |z|^2: logged    ours" }
  NR > 1 { for (i in epochs) if (NR - 2 == epochs[i])
    printf "%5d        %.5f  %.5f %+5.1f%%        %6.2f  %6.2f\n", epochs[i], paper[i], $column["mse"],
           100 * ($column["mse"] / paper[i] - 1), norm[i], $column["size"] }' "$out/metrics.csv"
