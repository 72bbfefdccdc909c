#!/bin/sh
# Trains every spec of this directory on Fashion-MNIST and prints a table, the Bernoulli floor beside them:
#   sh specs/priors/run.sh [EPOCHS]
# -ELBO and KL are of the test rows, in nats; `active` is how many entries carry a code (see base.spm); `lost` counts
# steps that were left out because a number was not finite.
epochs=${1:-2}
spmc=${SPMC:-build/spmc}
data=${FASHION:-/usr/share/datasets/fashion-mnist}
here=$(dirname "$0")
out=${OUT:-build/priors}
failed=0
mkdir -p "$out"

# number NAME: of the one line of JSON that `spmc eval --json` prints
number() { sed -n "s/.*\"$1\": \(-\{0,1\}[0-9.e+-]*\).*/\1/p" "$out/$name.json"; }
# All KL terms together: kl(z), or kl(s) + kl(e) + kl(tau).
all_kl() { tr ',{' '\n\n' < "$out/$name.json" | sed -n 's/.*"kl([^"]*": \(.*\)/\1/p' | awk '{ gsub(/[}]/, ""); sum += $1 } END { if (NR) printf "%.2f", sum; else printf "-" }'; }

run() {
  name=$1; rounds=$2
  if "$spmc" train "$here/$name.spm" --data x="$data/train-images-idx3-ubyte.gz" --epochs "$rounds" --seed 1 --plain \
       --force --out "$out/$name" > "$out/$name.log" 2>&1 &&
     "$spmc" eval "$out/$name" --data x="$data/t10k-images-idx3-ubyte.gz" --seed 1 --json > "$out/$name.json" 2>> "$out/$name.log"; then
    elbo=$(number elbo); active=$(number active)
    lost=$(grep -c 'was skipped:' "$out/$name.log")
  else
    elbo=; active=; lost=failed; failed=1; : > "$out/$name.json"
  fi
}

run bernoulli_floor 4
[ -n "$elbo" ] || elbo=$(number 'log_lik(x)')
floor=$elbo
printf '%-24s %10s %8s %8s %8s %8s\n' prior -ELBO KL active lost 'beats the floor'
printf '%-24s %10.2f %8s %8s %8s\n' 'independent coins' "$(awk "BEGIN { print -($floor) }")" - - "$lost"
for file in "$here"/*.spm; do
  name=$(basename "$file" .spm)
  case $name in base | bernoulli_floor) continue ;; esac
  run "$name" "$epochs"
  if [ -z "$elbo" ]; then
    printf '%-24s did not train: see %s\n' "$name" "$out/$name.log"
    continue
  fi
  beats=$(awk "BEGIN { print (($elbo) > ($floor)) ? \"yes\" : \"NO\" }")
  { [ "$beats" = yes ] && [ "$lost" = 0 ]; } || failed=1
  printf '%-24s %10.2f %8s %8.2f %8s %8s\n' "$name" "$(awk "BEGIN { print -($elbo) }")" "$(all_kl)" "$active" "$lost" "$beats"
done
exit $failed
