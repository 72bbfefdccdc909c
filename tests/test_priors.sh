#!/bin/sh
# specs/priors/run.sh on generated pictures: its columns `lost` and `beats the floor`, and its exit status, for a spec
# that loses nothing, one that loses three steps, and one whose training is given up.
spmc=${SPMC:-build/spmc}
build=${SPM_BUILD:-build}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
say() { if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1"; cat "$scratch/table" "$scratch"/out/*.log; fi; }

mkdir "$scratch/specs" "$scratch/data"
cp specs/priors/run.sh specs/priors/base.spm specs/priors/bernoulli_floor.spm specs/priors/logistic_vae.spm "$scratch/specs"
cat > "$scratch/specs/three.spm" <<END
model three from "base.spm";
schedule w = step > 10 and step < 14 ? 1e38 : 1;
objective w * 1000 * elbo;
END
cat > "$scratch/specs/diverges.spm" <<END
model diverges from "base.spm";
train { optimizer = sgd(lr = 1e6);  batch = 128; }
END
"$build/examples/make_bars" "$scratch/data/train-images-idx3-ubyte.gz" 4000 1 &&
  "$build/examples/make_bars" "$scratch/data/t10k-images-idx3-ubyte.gz" 500 2 || exit 1

table() { SPMC=$spmc FASHION=$scratch/data OUT=$scratch/out sh "$scratch/specs/run.sh" 1 > "$scratch/table" 2>&1; }
lost() { awk -v name="$1" '$1 == name { print $5 }' "$scratch/table"; }

table; status=$?
[ "$(lost logistic_vae)" = 0 ]; say 'a run without loss has lost 0' $?
[ "$(lost three)" = 3 ]; say 'three steps that are not finite are 3 lost' $?
grep -q '^diverges  *did not train' "$scratch/table"; say 'a training that is given up did not train' $?
[ $status -ne 0 ]; say 'and the status says so' $?
