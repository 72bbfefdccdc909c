#!/bin/sh
# Clustering by group-sparse codes (Theodosis et al. 2021, Table 1): trains group-sparse (also one-sided),
# element-sparse and ReLU models of 10 groups of 16 with 15 unrolled steps on pictures of any IDX data set, under both
# readings of the threshold (step * lambda, and lambda itself), and clusters the test pictures' codes by k-means and by
# spectral clustering.
# clustering.sh TRAIN_IMAGES TEST_IMAGES TEST_LABELS [DIRECTORY [EPOCHS]]; SPMC and PYTHON (with numpy and scipy) may be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
train=$1 test=$2 labels=$3
out=${4:-$root/build/clustering}
epochs=${5:-300}
spmc=${SPMC:-$root/build/spmc}
mkdir -p "$out"
for spec in group_sparse_autoencoder group_sparse_one_sided relu_sparse_autoencoder; do cp "$root/specs/$spec.spm" "$out"; done
variant() { printf 'model %s from "%s.spm";\n%s\n' "$1" "$2" "$3" >"$out/$1.spm"; }
literal='infer z by fista(steps = 15, step_size = lipschitz, threshold = lambda);'
element='let lambda = 0.03;  prior z ~ laplace(0, 1 / lambda);'
cp "$out/group_sparse_autoencoder.spm" "$out/group.spm"
variant group_literal   group_sparse_autoencoder "$literal"
variant one_sided       group_sparse_one_sided   ''
variant element         group_sparse_autoencoder "$element"
variant element_literal group_sparse_autoencoder "$element  $literal"
variant relu            relu_sparse_autoencoder  ''
variant relu_literal    relu_sparse_autoencoder  "$literal"
for model in group group_literal one_sided element element_literal relu relu_literal; do
  [ -e "$out/$model/model.safetensors" ] ||
    "$spmc" train "$out/$model.spm" --data "x=$train" --epochs "$epochs" --seed 1 ${THREADS:+--threads "$THREADS"} \
      --force -q --out "$out/$model"
  "$spmc" encode "$out/$model" --data "x=$test" --out "$out/$model" -q
done
"${PYTHON:-python3}" "$here/clustering_report.py" "$test" "$labels" "$out"
