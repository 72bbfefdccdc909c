#!/bin/sh
# The sparse generator of Li and Han 2022 on Fashion-MNIST: three models whose slab weight falls from 1 to 1, 0.5 and
# 0.01, and beside the last of them its dense and persistent relatives, a beta-VAE and a VSC of the same size. Prints a
# table of test values and of what a classifier of clean pictures makes of denoised ones, and writes traversal.png.
# run.sh [DIRECTORY [EPOCHS [LR]]]: 100 epochs at 1e-4 are the paper's; fewer keep the shape of its schedule (a fifth
# dense, three tenths falling). SPMC, PYTHON (with numpy) and FASHION (the directory of the four .gz files) may be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
out=${1:-$root/build/sparse_generator}
epochs=${2:-100}
lr=${3:-1e-4}
spmc=${SPMC:-$root/build/spmc}
fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
python=${PYTHON:-python3}
mkdir -p "$out"
"$python" "$here/noisy.py" "$fashion" "$out"

# The specs with another learning rate where one is asked for.
mkdir -p "$out/specs"
for spec in sparse_generator sparse_generator_dense sparse_generator_persistent beta_vae gaussian_vae vsc; do
  sed "s/lr = 1e-4, betas/lr = $lr, betas/" "$root/specs/$spec.spm" >"$out/specs/$spec.spm"
done

run() { # run NAME SPEC VALUE...
  name=$1 spec=$2
  shift 2
  [ -e "$out/$name/model.safetensors" ] ||
    "$spmc" train "$out/specs/$spec.spm" "$@" --data "x=$fashion/train-images-idx3-ubyte.gz" --epochs "$epochs" --seed 1 \
      ${THREADS:+--threads "$THREADS"} --force -q --out "$out/$name"
  "$spmc" encode "$out/$name" --data "x=$out/test_0.npy" --out "$out/$name/test_0" -q
  for noise in 0 0.3 0.5 0.7; do
    "$spmc" reconstruct "$out/$name" --data "x=$out/test_$noise.npy" --out "$out/$name/test_$noise" -q
  done
}
when="dense=$((epochs / 5)) fall=$(((3 * epochs + 9) / 10))"
run slab_1    sparse_generator $when final=1
run slab_0.5  sparse_generator $when final=0.5
run slab_0.01 sparse_generator $when final=0.01
# The same decoders with codes found under the dense prior, which is how their authors measure a reconstruction.
for name in slab_0.5 slab_0.01; do
  mkdir -p "$out/$name/at_weight_1"
  cp "$out/$name/model.safetensors" "$out/$name/model.spm" "$out/$name/at_weight_1"
  sed 's/"value final": [0-9.]*/"value final": 1/' "$out/$name/config.json" >"$out/$name/at_weight_1/config.json"
  for command in encode reconstruct; do
    "$spmc" $command "$out/$name/at_weight_1" --data "x=$out/test_0.npy" --out "$out/$name/at_weight_1" -q
  done
done
run dense      sparse_generator_dense
run persistent sparse_generator_persistent
run beta_vae   beta_vae K=100
run vsc        vsc K=100
"$python" "$here/report.py" "$fashion" "$out"
