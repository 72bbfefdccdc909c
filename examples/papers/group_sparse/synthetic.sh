#!/bin/sh
# Theodosis et al. 2021, Fig. 3 at 1 dB: the group-sparse autoencoder beside the element-wise one, error of the dictionary
# by epoch and support recovered, and a table "paper | ours". Needs python3 with numpy; 301 epochs (the last value is that after 300) take several minutes.
# usage, from the repository: sh examples/papers/group_sparse/synthetic.sh DIRECTORY [EPOCHS]
set -e
spmc=${SPMC:-build/spmc}
here=$(dirname "$0")
work=$1
epochs=${2:-301}
mkdir -p "$work"
cp specs/group_sparse_synthetic.spm specs/element_sparse_synthetic.spm "$work"
[ -f "$work/clean.npy" ] || python3 "$here/make_synthetic.py" "$work"
for model in group element; do
  "$spmc" train "$work/${model}_sparse_synthetic.spm" --data clean="$work/clean.npy" --out "$work/$model" --force --seed 1 \
    --epochs "$epochs" ${THREADS:+--threads "$THREADS"}
  "$spmc" encode "$work/$model" --data clean="$work/clean.npy" --out "$work/$model" -q
done
python3 "$here/synthetic_report.py" "$work"
