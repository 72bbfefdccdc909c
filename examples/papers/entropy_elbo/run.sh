#!/bin/sh
# Sparse coding on entropies (Velychko et al. 2024): one command an experiment, run from the repository.
#   run.sh bars [SEEDS]        bars by L-BFGS, learned objective beside that of the true bars (SEEDS: how many, 20)
#   run.sh annealed [SEEDS]    the same with the prior's entropy weighted 10, 8, 6, 4, 2 in the first epochs
#   run.sh likelihood [SEEDS]  the same with the likelihood's entropy weighted 1/7, 1/6, ..., 1/2 in the first epochs
#   run.sh diagonal [SEEDS]    the same with independent posteriors: the negative control
#   run.sh gaussian          a Gaussian prior beside probabilistic PCA's closed optimum
#   run.sh theorem           the standard ELBO and its sum of entropies meet (a picture)
#   run.sh patches           natural patches, EM with the prior annealed; 40 batches an epoch, at full size (ROWS=204800) 400
#   run.sh map               Olshausen and Field's MAP codes on the same patches, fields and codes beside those of `patches`
#   run.sh amortised         an encoder in the place of posteriors of each row's own
# EPOCHS: of the bars, 24 (of 200 iterations each); ROWS: of the bars, 1000; of `patches`, 20480. SPMC: the command, build/spmc. PYTHON: one with numpy, python3. OUT: where everything goes, build/entropy_elbo.
# IMAGES: whitened natural images [n, height, width], .npy (the last four).
set -e
here=$(dirname "$0")
spmc=${SPMC:-build/spmc} python=${PYTHON:-python3} out=${OUT:-build/entropy_elbo}
mkdir -p "$out"

bars() { # NAME SPEC SEEDS
  runs= rows=${ROWS:-1000} of=
  [ "$rows" = 1000 ] || of=_of_$rows
  for seed in $(seq 0 $(($3 - 1))); do
    data=$out/bars$seed$of.npy
    [ -f "$data" ] || "$python" "$here/make_bars.py" "$data" --seed "$seed" --rows "$rows"
    "$spmc" train "$2" --data x="$data" --seed "$seed" --epochs "${EPOCHS:-24}" --threads 1 --quiet --force --out "$out/$1$seed$of"
    [ -f "$out/truth$seed$of/model.safetensors" ] ||
      "$spmc" train "$here/bars_truth.spm" --data x="$data" --seed "$seed" --threads 1 --quiet --force --out "$out/truth$seed$of"
    runs="$runs $out/$1$seed$of $out/truth$seed$of"
  done
  "$python" "$here/compare_bars.py" 5 $runs
}

patches() { # FILE ROWS SIDE
  [ -f "$1" ] || "$python" "$here/cut_patches.py" "${IMAGES:?set IMAGES to an .npy file of whitened images}" "$1" --rows "$2" --side "$3"
}

case $1 in
bars) bars learned specs/entropy_bars.spm "${2:-20}" ;;
annealed) bars annealed "$here/bars_annealed.spm" "${2:-20}" ;;
likelihood) bars likelihood "$here/bars_likelihood.spm" "${2:-20}" ;;
diagonal) bars diagonal "$here/bars_diagonal.spm" "${2:-6}" ;;
gaussian)
  patches "$out/small.npy" 10240 8
  "$python" "$here/ppca.py" "$out/small.npy" 16
  "$spmc" train specs/entropy_gaussian.spm K=16 --data x="$out/small.npy" --test x="$out/small.npy" --epochs 60 --seed 0 --plain --force --out "$out/gaussian"
  ;;
theorem)
  patches "$out/small.npy" 10240 8
  "$spmc" train "$here/elbo_schedule.spm" K=16 --data x="$out/small.npy" --seed 0 --plain --force --out "$out/theorem"
  "$python" "$here/draw_columns.py" "$out/theorem" "$out/theorem/figures/entropies.svg" -20 20 elbo entropies
  ;;
patches)
  rows=${ROWS:-20480} of=
  [ "$rows" = 20480 ] || of=_of_$rows
  patches "$out/patches$of.npy" "$rows" 16
  "$spmc" train specs/entropy_patches.spm --data x="$out/patches$of.npy" --seed 0 --plain --force --out "$out/patches$of"
  "$python" "$here/draw_fields.py" "$out/fields$of.png" "$out/patches$of"
  ;;
map)
  patches "$out/patches.npy" 20480 16
  "$spmc" train specs/map_sparse_coding.spm --data x="$out/patches.npy" --seed 0 --plain --force --out "$out/map"
  compared=
  for run in map patches; do
    [ -f "$out/$run/model.safetensors" ] || continue
    "$spmc" encode "$out/$run" --data x="$out/patches.npy" --out "$out/$run/codes" -q
    compared="$compared $out/$run $out/$run/codes/z.npy"
  done
  "$python" "$here/compare_codes.py" "$out/patches.npy" $compared
  "$python" "$here/draw_fields.py" "$out/fields.png" $(for run in $compared; do [ -d "$run" ] && echo "$run"; done)
  ;;
amortised)
  patches "$out/patches.npy" 20480 16
  "$spmc" train specs/entropy_amortised.spm --data x="$out/patches.npy" --epochs 40 --seed 0 --plain --force --out "$out/amortised"
  ;;
*) sed -n 's/^#   //p' "$0"; exit 1 ;;
esac
