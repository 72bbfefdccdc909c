#!/bin/sh
# Variational sparse coding on Fashion-MNIST beside a Gaussian VAE: trains the seven models of the table in README.md,
# prints their test values, and probes the codes. run.sh [DIRECTORY [EPOCHS]]; SPMC, PYTHON (with numpy) and FASHION (the
# directory of the four .gz files) may be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
out=${1:-$root/build/vsc}
epochs=${2:-11}
spmc=${SPMC:-$root/build/spmc}
fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
mkdir -p "$out"

run() { # run NAME SPEC VALUE...
  name=$1 spec=$2
  shift 2
  [ -e "$out/$name/model.safetensors" ] || "$spmc" train "$spec" "$@" --data "x=$fashion/train-images-idx3-ubyte.gz" \
    --test "x=$fashion/t10k-images-idx3-ubyte.gz" --batch 32 --epochs "$epochs" --seed 1 --threads 1 --plain --force \
    --out "$out/$name" >"$out/$name.log"
  awk -v name="$name" '/^test/ { seen = 1 } seen && $1 == "elbo" { elbo = $2 } seen && $1 == "relaxation_gap" { gap = $2 }
    END { printf "%-22s -ELBO, hard draws %.2f", name, -elbo; if (gap != "") printf ", relaxed as in training %.2f", -elbo - gap; print "" }' "$out/$name.log"
}
vsc=$root/specs/vsc.spm dense=$root/specs/vsc_dense.spm
run half_8     "$vsc"                alpha=0.5  K=8
run half_200   "$vsc"                alpha=0.5  K=200
run late_8     "$here/vsc_late.spm"  alpha=0.5  K=8
run late_200   "$here/vsc_late.spm"  alpha=0.5  K=200
run dense_8    "$dense"              K=8
run dense_200  "$dense"              K=200
run sparse_200 "$vsc"                alpha=0.01 K=200
"${PYTHON:-python3}" "$here/probe.py" "$fashion" "$out/dense_200" "$out/sparse_200"
