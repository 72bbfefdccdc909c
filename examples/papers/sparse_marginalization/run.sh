#!/bin/sh
# One run of bit_vector_vae on Fashion-MNIST: sh examples/papers/sparse_marginalization/run.sh METHOD SEED EPOCHS [NAME=VALUE ...]
# METHOD: topk, sparsemap or budget. One process, one thread; leaves build/papers/sparse_marginalization/METHOD-SEED/ and
# prints a line an epoch: validation -ELBO, rate, distortion, mean decoder rows a datum (training), share certified.
# From the repository, after `make build/spmc`.
set -e
method=$1 seed=$2 epochs=$3
shift 3
spmc=${SPMC:-build/spmc}
data=${DATA:-/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz}
case $method in
topk) spec=specs/bit_vector_vae.spm ;;
sparsemap | budget) spec=examples/papers/sparse_marginalization/$method.spm ;;
*) echo "run.sh: METHOD is topk, sparsemap or budget" >&2; exit 2 ;;
esac
out=${OUT:-build/papers/sparse_marginalization/$method-$seed}
mkdir -p "$(dirname "$out")"
"$spmc" train "$spec" --data x="$data" --seed "$seed" --epochs "$epochs" --threads 1 --force -q --out "$out" "$@"
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
{ printf "epoch %d  -elbo %.1f  rate %.2f  distortion %.1f  rows %.2f  certified %.2f\n", $1, -$at["valid.elbo"],
  $at["valid.rate"], $at["valid.distortion"], $at["decoder_rows"], $at["certified"] }' "$out/metrics.csv"
