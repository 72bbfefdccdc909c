#!/bin/sh
# Emits laplace_vae as a trainer, compiles it and trains it on pictures of bars. SPMC and MAKE_BARS: the programs.
set -e
here=$(cd "$(dirname "$0")/../.." && pwd)
spmc=${SPMC:-$here/build/spmc}
bars=${MAKE_BARS:-$here/build/examples/make_bars}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$bars" train.idx 2000 1
"$bars" test.idx 500 2
"$spmc" emit "$here/specs/laplace_vae.spm" --main -o model.c K=16 H=64
cc -O3 -march=native -DSPM_NO_BLAS model.c -lm -o model
./model --data x=train.idx --test x=test.idx --epochs 3 --save model.safetensors
./model --data x=train.idx --test x=test.idx --epochs 4 --resume model.safetensors
