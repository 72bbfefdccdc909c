# Initial values from data: what they are, in `spmc train` and in an emitted trainer; resuming and evaluating without
# the file; files that do not fit. Lines "ok NAME" / "not ok NAME"; run by tests/run.sh.
spmc=${SPMC:-build/spmc}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /tmp/spm-starts-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
NO_COLOR=1 OPENBLAS_NUM_THREADS=1; export NO_COLOR OPENBLAS_NUM_THREADS

check() { # NAME COMMAND...
  label=$1
  shift
  if "$@" >out 2>&1; then echo "ok $label"; else echo "not ok $label: $*"; head -5 out; fi
}
refused() { # NAME WORDS COMMAND...
  label=$1 words=$2
  shift 2
  if "$@" >out 2>&1; then echo "not ok $label: it was taken"; elif grep -qF "$words" out; then echo "ok $label"; else echo "not ok $label:"; head -5 out; fi
}
npy() { # SHAPE NUMBERS...: 64-bit floats
  shape=$1
  shift
  printf '\223NUMPY\001\000v\000'
  printf "%-117s\n" "{'descr': '|u1', 'fortran_order': False, 'shape': ($shape), }"
  for n; do printf "\\$(printf %03o "$n")"; done
}

mkdir specs
npy '5, 3' 1 10 100  2 20 100  3 30 100  4 40 100  9 50 100 >x.npy
npy '2, 3' 7 8 9  1 2 3 >specs/w.npy
cat >specs/m.spm <<'SPEC'
model starts;
dim D; dim K = 2;
data x : real[D];
param R : real[K, D] fixed init rows(x);
param T : real[D, K] fixed init rows(x)';
param middle : real[D] fixed init median(x, over = batch);
param centre : real[D] init mean(x, over = batch) - 1;
param F : real[D, K] fixed init file("w.npy")';
param N : real[D, K] fixed init normalize(F, over = D);
minimize sum((x - centre)^2);
metric rows_of_x = sum(R[0] == x) + sum(R[1] == x);
metric columns_of_x = sum(T'[0] == x) + sum(T'[1] == x);
metric distance = abs(middle[0] - 3) + abs(middle[1] - 30) + abs(middle[2] - 100);
metric of_file = F[0, 0] + 10 * F[1, 0] + 100 * F[2, 1];
metric norms = norm(N);
train { optimizer = sgd(lr = 1e-9); batch = 5; epochs = 1; }
SPEC
settings='--data x=x.npy --epochs 1 --seed 3'
check 'initial values from data' "$spmc" train specs/m.spm $settings --threads 1 -q --force --out run
check 'they are evaluated without the file' sh -c "mv specs/w.npy kept.npy && '$spmc' eval run --data x=x.npy"
awk '/rows_of_x|columns_of_x|distance|of_file|norms/ { print }' out >found
value() { sed -n "s/^ *$1 *\([-0-9.e+]*\).*/\1/p" out | head -1; }
near() { # NAME FOUND WANTED
  if echo "$2 $3" | awk '{ d = $1 - $2; exit !(NF == 2 && d < 1e-5 && d > -1e-5) }'; then echo "ok $1"; else echo "not ok $1: $2 and not $3"; cat out; fi
}
# Two rows of five are found; all rows agree in the last entry: (2 * 2 + 2 * 5 + ... ) of five rows.
near 'rows are rows of the data' "$(value rows_of_x)" 2.8
near 'and columns with a prime' "$(value columns_of_x)" 2.8
near 'the median is the median' "$(value distance)" 0
near 'the file is read, turned' "$(value of_file)" 387
near 'another param, normalised' "$(value norms)" 1.414
check 'a run goes on without the file' "$spmc" train specs/m.spm --data x=x.npy --epochs 2 --seed 3 --threads 1 -q --resume --out run
check 'emitted without the file' "$spmc" emit specs/m.spm --main -o model.c D=3
check 'and clean' gcc -std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Werror -O1 -DSPM_NO_BLAS model.c -o model -lm
refused 'the emitted trainer wants it' 'w.npy: cannot be opened' ./model $settings
cp kept.npy w.npy
check 'the emitted trainer has it' ./model $settings
emitted=$(sed -n 's/^epoch .* objective \([-0-9.e+]*\).*/\1/p' out)
cp kept.npy specs/w.npy
check 'again' "$spmc" train specs/m.spm $settings --threads 1 -q --force --out run
trained=$(sed '1s/"\([^",]*\),\([^",]*\)"/\1\2/g' run/metrics.csv | awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "objective") c = i; next } { print $c }')
near 'the emitted trainer starts from the same' "$emitted" "$trained"
refused 'a library has no data' 'cannot work out' "$spmc" emit specs/m.spm --lib -o lib.c D=3
npy '3, 2' 1 2 3 4 5 6 >specs/w.npy
refused 'a file of another shape' "has the shape 3 x 2, and the initial value file(\"w.npy\") wants 2 x 3" "$spmc" train specs/m.spm $settings --force --out run
echo nothing >specs/w.npy
refused 'no such format' 'w.npy' "$spmc" train specs/m.spm $settings --force --out run
rm specs/w.npy
refused 'no such file' 'specs/w.npy' "$spmc" train specs/m.spm $settings --force --out run
cp kept.npy specs/w.npy
refused 'more rows than there are' 'rows(x) wants 7 rows to start from, and the data have 5' "$spmc" train specs/m.spm $settings --force --out run K=7
check 'check, explain and diagnose need neither' sh -c "rm specs/w.npy && '$spmc' check specs/m.spm && '$spmc' explain specs/m.spm && '$spmc' diagnose specs/m.spm"
exit 0
