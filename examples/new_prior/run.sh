#!/bin/sh
# The walk of README.md, from a density to pictures: sh examples/new_prior/run.sh [OUT]
# Runs every command that README.md shows, from the root of the project, after `make`.
out=${1:-build/new_prior}
spmc=${SPMC:-build/spmc}
data=${FASHION:-/usr/share/datasets/fashion-mnist}
here=examples/new_prior
say() { printf '\n$ %s\n' "$*"; "$@" 2>&1; }
mkdir -p "$out"

say "$spmc" check $here/1_density.spm && exit 1        # it is wrong, and has to be refused
say "$spmc" check $here/2_sampler.spm && exit 1        # so is this
set -e
say "$spmc" check $here/double_pareto.spm
say "$spmc" check $here/model.spm
say "$spmc" explain $here/model.spm
say "$spmc" diagnose --quiet $here/model.spm D=12
for model in model laplace; do
  say "$spmc" train $here/$model.spm --data x="$data/train-images-idx3-ubyte.gz" --test x="$data/t10k-images-idx3-ubyte.gz" \
    --seed 1 --quiet --force --out "$out/$model"
done
say ls "$out/model/figures"
