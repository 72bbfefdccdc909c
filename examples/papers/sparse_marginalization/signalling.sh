#!/bin/sh
# The signalling game on Fashion-MNIST, 16 images a game: the receiver's expectation over 256 symbols summed over those
# that sparsemax leaves (sparse), over all (dense), relaxed (gumbel, st_gumbel), or drawn (sfe, sfe_plus, nvil).
# One run is one process of one thread, so that many go side by side:
#   signalling.sh METHOD RATE C SPREAD SEED [DIRECTORY]   trains for STEPS steps (1000) and prints what it came to
#   signalling.sh tune                             lists the runs of the grid of learning rates, entropy weights and spreads of the first scores
#   signalling.sh best [DIRECTORY]                 the setting of each method with the most success on validation games
#   signalling.sh final [DIRECTORY]                lists runs by those settings, SEEDS of each (1 2 3)
#   signalling.sh report [DIRECTORY]               test games: success and symbols that the receiver reads, over seeds
# so that `signalling.sh tune | xargs -P 16 -L 1 signalling.sh`, then the same with STEPS=3000 and `final`, is all of it.
# C is the entropy's weight in the first step; it falls to 0.1 in the last. SPREAD is that of the sender's last weights.
# METHODS, RATES, CS, SPREADS, SPMC and FASHION (the directory of the .gz files) may be set.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
method=${1:?METHOD RATE C SPREAD SEED [DIRECTORY], or tune, best, final, report}
spmc=${SPMC:-$root/build/spmc}
fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
methods=${METHODS:-sparse dense gumbel st_gumbel sfe sfe_plus nvil}
default=$root/build/signalling

# METHOD RATE C SPREAD SEED STEPS, best validation success, test success, test decoder rows, of each finished run.
results() {
  for run in "$1"/*_*; do
    [ -s "$run/test.txt" ] || continue
    set -- $(basename "$run" | tr _ ' ' | sed 's/st gumbel/st_gumbel/; s/sfe plus/sfe_plus/')
    valid=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "valid.success") c = i } NR > 1 && $c > best { best = $c } END { print best }' "$run/metrics.csv")
    awk -v run="$*" -v valid="$valid" '$1 == "success" { s = $2 } $1 == "decoder_rows" { r = $2 } END { print run, valid, s, r }' "$run/test.txt"
  done
}
best() { results "$1" | sort -k 7,7gr | awk '!seen[$1]++ { print $1, $2, $3, $4, "validation success", $7, "test", $8, "rows", $9 }'; }

case $method in
tune)
  for m in $methods; do
    for rate in ${RATES:-0.002 0.001}; do
      for c in ${CS:-0.5 0.3 0.1}; do
        for spread in ${SPREADS:-0.6 0.036}; do echo "$m $rate $c $spread 1"; done
      done
    done
  done
  exit ;;
best) best "${2:-$default}"; exit ;;
final)
  best "${2:-$default}" | while read -r m rate c spread rest; do
    for seed in ${SEEDS:-1 2 3}; do echo "$m $rate $c $spread $seed"; done
  done
  exit ;;
report)
  results "${2:-$default}" | awk '{ k = $1 " rate " $2 " c " $3 " spread " $4 " steps " $6; n[k]++; s[k] += 100 * $8; q[k] += 1e4 * $8 * $8; r[k] += $9; v[k] += 100 * $7 }
    END { for (k in n) { mean = s[k] / n[k]; d = q[k] / n[k] - mean * mean; if (d < 0) d = 0
      printf "%-40s %d seeds  success on test games %.2f%% (sd %.2f), on validation games %.2f%%  decoder rows %.2f\n", k, n[k], mean, (n[k] > 1 ? sqrt(d * n[k] / (n[k] - 1)) : 0), v[k] / n[k], r[k] / n[k] } }' | sort
  exit ;;
esac

rate=${2:?RATE} c=${3:?C} spread=${4:?SPREAD} seed=${5:?SEED} steps=${STEPS:-1000}
out=${6:-$default}
scores='sender(pictures[target]).scores'
rest=
case $method in
sparse) posterior="~ sparsemax($scores)" ;;
dense) posterior="~ softmax($scores)" ;;
gumbel | st_gumbel)
  hard=false
  [ $method = st_gumbel ] && hard=true
  rest='schedule temperature = max(0.5, exp(-0.00001 * (step - step % 1000)));'
  posterior="~ categorical(logits = $scores) by relaxed(temperature = temperature, straight_through = $hard)" ;;
sfe) posterior="~ categorical(logits = $scores) by score_function(baseline = running_mean(decay = 0.99))" ;;
sfe_plus) posterior="~ categorical(logits = $scores) by score_function(baseline = self_critic)" ;;
nvil)
  rest='network guess(v : real[F]) { reward = dense(relu(dense(v, 256)), 1); }'
  posterior="~ categorical(logits = $scores) by score_function(baseline = guess(pictures[target]).reward)" ;;
*) echo "$0: no method $method" >&2; exit 2 ;;
esac
# Nothing is summed out by a method that draws: the receiver reads one symbol a game.
case $method in sparse | dense) ;; *) rest="$rest metric decoder_rows = 1;" ;; esac
run=$out/${method}_${rate}_${c}_${spread}_${seed}_$steps
mkdir -p "$run.spec"
cp "$root/specs/signalling_game.spm" "$run.spec/"
spec=$run.spec/$method.spm
echo "model $method from \"signalling_game.spm\"; posterior message $posterior; $rest" >"$spec"
"$spmc" train "$spec" rate="$rate" c_first="$c" spread="$spread" most="$steps" --data "V=$fashion/train-images-idx3-ubyte.gz" --seed "$seed" \
  --threads 1 --plain --force --out "$run" >"$run.spec/log" 2>&1
"$spmc" eval "$run" --data "V=$fashion/t10k-images-idx3-ubyte.gz" --threads 1 >"$run/test.txt"
rm -f "$run/checkpoints/last.safetensors"
echo "$method rate $rate c $c spread $spread seed $seed: $(grep -e 'steps in' "$run.spec/log"), $(awk '$1 == "success" || $1 == "decoder_rows" { printf "%s %s  ", $1, $2 }' "$run/test.txt")"
