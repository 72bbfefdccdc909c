#!/bin/sh
# Sparse autoencoders and latent subsets in training, in float as everybody trains: a JumpReLU threshold moves, the
# threshold that stands in for a batch's choice is followed, dead units come back to life, and extreme logits at a low
# temperature lose no step.
spmc=${SPMC:-build/spmc}
build=${SPM_BUILD:-build}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
say() { if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1"; cat "$scratch/log"; fi; }
specs=$PWD/specs
"$build/examples/make_bars" "$scratch/x.idx" 3000 1 || exit 1

train() { # train MODEL VALUE...: its log, with the test values last
  "$spmc" train "$scratch/$@" --data "x=$scratch/x.idx" --test "x=$scratch/x.idx" --seed 1 --threads 1 --plain --force \
    --out "$scratch/run" > "$scratch/log" 2>&1
}
value() { awk -v name="$1" '/^test/ { seen = 1 } seen && $1 == name { print $2 }' "$scratch/log"; }
between() { awk -v low="$1" -v x="$2" -v high="$3" 'BEGIN { exit !(x != "" && x >= low && x <= high) }'; }

for model in jumprelu batch_topk; do
  echo "model $model from \"$specs/sae_$model.spm\"; data x : unit[D];" > "$scratch/$model.spm"
done
train jumprelu.spm K=64 lambda=0.05 --batch 100 --epochs 8
between 0.005 "$(value threshold)" 10; say 'a JumpReLU threshold moves from 0.001' $?
between 1 "$(value used)" 60; say 'and units are cut off by it' $?

train batch_topk.spm K=64 active=8 revive=8 --batch 100 --epochs 8
between 4 "$(value used)" 16; say 'the threshold that stands in for top-k of the batch takes about as many' $?

# Units that begin asleep count as dead after 6,900 steps, when 0.999^step falls below 1e-3.
echo "model asleep from \"$specs/sae_jumprelu.spm\"; data x : unit[D]; param be : real[K] init -10; train { optimizer = adam(lr = 1e-2); }" > "$scratch/asleep.spm"
train asleep.spm K=16 revive=0 --batch 10 --epochs 28
between 1 "$(value dead_share)" 1; say 'units that never wake are dead' $?
train asleep.spm K=16 revive=1e-3 --batch 10 --epochs 28
between 0 "$(value dead_share)" 0.2; say 'dead units are brought back to life' $?

cat > "$scratch/extreme.spm" <<END
model extreme;
dim D = 784; dim K = 40; dim L = 8;
data   x      : unit[D];
latent size   : integer(1, L);
latent active : subset(L)[K];
param  a : real[K] init uniform(-50, 50);
param  s : real[L] init uniform(-50, 50);
prior size   ~ categorical(prob = 1 / L);
prior active ~ gumbel_top_k(logits = 0, size = size);
posterior size   ~ categorical(logits = s + 0 * x[0])             by relaxed(temperature = 0.05);
posterior active ~ gumbel_top_k(logits = a + 0 * x[0], size = size) by relaxed(temperature = 0.05);
likelihood x ~ bernoulli(logits = dense(active, D));
objective elbo;
metric different = sum(active) != size;
END
train extreme.spm --batch 50 --epochs 1
! grep -qi 'skipped\|not finite' "$scratch/log" && [ -n "$(value elbo)" ]; say 'logits of +-50 at a temperature of 0.05 lose no step' $?
[ "$(value different)" = 0 ]; say 'a code has as many members as its size says' $?
sed -i 's/gumbel_top_k/conditional_bernoulli/g; s/by relaxed(temperature = 0.05);\(.*\)/by relaxed(temperature = 0.05);/; /^posterior active/s/by relaxed.*/by relaxed(straight_through = true);/' "$scratch/extreme.spm"
train extreme.spm --batch 50 --epochs 1
! grep -qi 'skipped\|not finite' "$scratch/log" && [ -n "$(value elbo)" ]; say 'nor do those of a conditional Bernoulli' $?

echo 'model tags; data t : subset(2)[784]; param a : real[784] init 0; likelihood t ~ conditional_bernoulli(logits = a, size = n); let n : integer(0, 2) = sum(t); objective log_lik(t);' > "$scratch/tags.spm"
{ printf '\0\0\10\3\0\0\0\2\0\0\0\34\0\0\0\34'; printf '\1\1\1'; head -c 1565 /dev/zero; } > "$scratch/t.idx"
! "$spmc" train "$scratch/tags.spm" --data "t=$scratch/t.idx" --out "$scratch/run" --force > "$scratch/log" 2>&1 &&
  grep -q '1 subset of `t` have more than 2 members' "$scratch/log" && grep -q 'the first one has 3, in row 0' "$scratch/log"
say 'a row of too many members is refused' $?
