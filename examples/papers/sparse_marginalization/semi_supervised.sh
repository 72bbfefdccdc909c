#!/bin/sh
# Semi-supervised VAE on Fashion-MNIST: 5,000 of 50,000 labels are seen, the class of the other rows is summed out, over
# its support (sparse) or over all ten (dense). One method and seed is one process of one thread, so that many can run
# side by side. semi_supervised.sh METHOD SEED [DIRECTORY] trains one; semi_supervised.sh report [DIRECTORY] prints the
# table of what is there. WARM and MAIN (epochs), WEIGHT, RATE (of main, sparse), SPMC and FASHION (the directory of the four .gz files) may be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
method=${1:?METHOD SEED [DIRECTORY], or report [DIRECTORY]}
spmc=${SPMC:-$root/build/spmc}
fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
warm=${WARM:-40}
main=${MAIN:-12}
weight=${WEIGHT:-1} # of the loss of labels, for sparse and dense

if [ "$method" = report ]; then
  out=${2:-$root/build/semi_supervised}
  for log in "$out"/*-*.log; do
    awk -v run="$(basename "$log" .log)" '/^test/ { seen = 1 } seen && NF == 2 { value[$1] = $2 } / steps in / { sub(/.* in /, ""); time = $0 }
      END { if (seen) printf "%s accuracy %.4f elbo %.2f decoder_rows %.3f in %s\n", run, value["accuracy"], value["elbo"], value["decoder_rows"], time }' "$log"
  done | awk '{ print; split($1, part, "-"); m = part[1]; n[m]++; a = 100 * $3; s[m] += a; q[m] += a * a; e[m] += $5; r[m] += $7 }
    END { for (m in n) { mean = s[m] / n[m]; v = q[m] / n[m] - mean * mean; sd = (n[m] > 1 && v > 0) ? sqrt(v * n[m] / (n[m] - 1)) : 0
      printf "%-10s %d runs: test accuracy %.2f%% (sd %.2f), ELBO %.2f, decoder rows a datum %.3f\n", m, n[m], mean, sd, e[m] / n[m], r[m] / n[m] } }'
  exit
fi

seed=${2:?SEED}
out=${3:-$root/build/semi_supervised}
case $method in
sparse) spec=$root/specs/semi_supervised_vae.spm ;;
dense) spec=$root/specs/semi_supervised_dense.spm ;;
gumbel | st_gumbel | sfe | sfe_plus | nvil | sum_sample) spec=$root/specs/estimators/semi_supervised_$method.spm ;;
*) echo "$0: no method $method" >&2; exit 2 ;;
esac
mkdir -p "$out"
if [ ! -e "$out/labels.idx" ]; then
  work=$(mktemp -d "$out/labels.XXXXXX")
  ${CC:-cc} -O1 -o "$work/hide_labels" "$here/hide_labels.c"
  gzip -dc "$fashion/train-labels-idx1-ubyte.gz" | "$work/hide_labels" 5000 10000 1 >"$work/labels.idx"
  mv "$work/labels.idx" "$out/labels.idx" # whole, whoever else is at it
  rm -r "$work"
fi
"$spmc" train "$spec" warm_epochs="$warm" main_epochs="$main" label_weight="$weight" ${RATE:+main_rate="$RATE"} \
  --data "pixels=$fashion/train-images-idx3-ubyte.gz" --data "y=$out/labels.idx" \
  --test "pixels=$fashion/t10k-images-idx3-ubyte.gz" --test "y=$fashion/t10k-labels-idx1-ubyte.gz" \
  --seed "$seed" --threads 1 --plain --force --out "$out/$method-$seed" >"$out/$method-$seed.log" 2>&1
tail -n 12 "$out/$method-$seed.log"
