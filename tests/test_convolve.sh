# Convolutions from spec to trained model: the emitted file follows `spmc train`, and threads do not change a byte.
# Lines "ok NAME" / "not ok NAME"; run by tests/run.sh.
spmc=${SPMC:-build/spmc}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /tmp/spm-convolve-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
NO_COLOR=1 OPENBLAS_NUM_THREADS=1; export NO_COLOR OPENBLAS_NUM_THREADS
spec=$here/specs/images/conv_vae.spm sizes='H=8 W=8 K=4'
settings='--data x=numbers.npy --batch 150 --epochs 4 --seed 5'

check() { # NAME COMMAND...
  label=$1
  shift
  if "$@" >out 2>&1; then echo "ok $label"; else echo "not ok $label: $*"; head -5 out; fi
}

gcc -o make_numbers "$here/tests/emit/make_numbers.c" && ./make_numbers numbers.npy 300 64
check 'a convolutional model trains' "$spmc" train "$spec" $settings --threads 1 -q --force --out one $sizes
check 'and on three threads' "$spmc" train "$spec" $settings --threads 3 -q --force --out three $sizes
file=$(cd one && ls *.safetensors | head -1)
check 'threads do not change a byte' cmp "one/$file" "three/$file"
check 'it is emitted' "$spmc" emit "$spec" --main -o model.c $sizes
check 'and clean' gcc -std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Werror -O2 -DSPM_NO_BLAS model.c -o model -lm
check 'clang takes it' clang -std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Werror -DSPM_REAL=double -c model.c -o model.o
check 'it runs' ./model $settings
sed -n 's/^epoch .* objective \([-0-9.e+]*\).*/\1/p' out >emitted
sed '1s/"\([^",]*\),\([^",]*\)"/\1\2/g' one/metrics.csv | awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "objective") c = i; next } { print $c }' >expected
if paste emitted expected | awk '{ d = $1 - $2; if (d < 0) d = -d; s = $2 < 0 ? -$2 : $2; if (NF != 2 || !(d <= 1e-3 * (s + 1))) bad = 1 } END { exit bad || NR == 0 }'
then echo 'ok it follows spmc train'; else echo 'not ok it follows spmc train:'; paste emitted expected; fi
exit 0
