# Emitted C files: they compile cleanly everywhere, train as `spmc train` does, resume to the same bytes, and link and
# run side by side. Lines "ok NAME" / "not ok NAME" / "skip NAME"; run by tests/run.sh. Processor time is what it costs:
# every spec is compiled and followed, in small dims; what does not depend on the spec (levels, precisions, sanitizers,
# targets) is shown by a few that have all of it between them.
here=$(cd "$(dirname "$0")/.." && pwd)
spmc=${SPMC:-$here/build/spmc}
bars=${SPM_BUILD:-$here/build}/examples/make_bars
work=$(mktemp -d /tmp/spm-emit-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
NO_COLOR=1 OPENBLAS_NUM_THREADS=1; export NO_COLOR OPENBLAS_NUM_THREADS
strict='-std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Wvla -Werror'

check() { # NAME COMMAND...
  label=$1
  shift
  if "$@" >out 2>&1; then echo "ok $label"; else echo "not ok $label: $*"; head -5 out; fi
}
have() { command -v "$1" >/dev/null 2>&1; }

# same_numbers NAME TOLERANCE OUTPUT METRICS [valid]: "objective V" in each line that begins with `epoch` (or `valid`)
# against the column of that name
same_numbers() {
  sed -n "s/^${5:-epoch} .* objective \([-0-9.e+]*\).*/\1/p" "$3" >emitted
  sed '1s/"\([^",]*\),\([^",]*\)"/\1\2/g' "$4" | awk -F, -v name="${5:+$5.}objective" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; next } { print $c }' >expected
  if paste emitted expected | awk -v t="$2" '{ d = $1 - $2; if (d < 0) d = -d; s = $2 < 0 ? -$2 : $2; if (NF != 2 || !(d <= t * (s + 1))) bad = 1 } END { exit bad || NR == 0 }'
  then echo "ok $1"; else echo "not ok $1:"; paste emitted expected | head -5; fi
}

"$bars" bars.idx 256 1
gcc -o make_numbers "$here/tests/emit/make_numbers.c" && ./make_numbers numbers.npy 256 256
for name in laplace_vae gaussian_vae sparse_coding vsc; do
  spec=$here/specs/$name.spm
  check "$name is emitted" "$spmc" emit "$spec" --main -o "$name.c" D=256 K=8
  "$spmc" emit "$spec" --main -o again.c D=256 K=8
  check "$name has the same bytes each time" cmp "$name.c" again.c
  for cc in gcc clang; do
    have $cc || { echo "skip $name with $cc: not installed"; continue; }
    for flags in '-O0' '-O0 -DSPM_REAL=double'; do
      check "$name with $cc $flags" $cc $strict $flags -c "$name.c" -o model.o
    done
  done
  if have tcc; then check "$name with tcc" tcc -DSPM_NO_BLAS "$name.c" -o model-tcc -lm; else echo "skip $name with tcc: not installed"; fi
  level=-O1
  case $name in laplace_vae|sparse_coding)
    level='-O3 -march=native'
    if have clang; then check "$name with clang -O3" clang $strict -O3 -march=native -c "$name.c" -o model.o; fi ;;
  esac
  check "$name with gcc $level -DSPM_NO_BLAS" gcc $strict $level -DSPM_NO_BLAS "$name.c" -o model -lm
  # 256 rows in batches of 128: 50 epochs are 100 steps
  check "$name trains" ./model --data x=numbers.npy --batch 128 --epochs 50 --seed 5
  cp out emitted.txt
  check "$name is trained" "$spmc" train "$spec" --data x=numbers.npy --batch 128 --epochs 50 --seed 5 --threads 1 -q --force --out run D=256 K=8
  same_numbers "$name follows spmc train for 100 steps" 1e-3 emitted.txt run/metrics.csv
done

# Every shipped spec, on rows of the length and kind that it wants. L-BFGS makes of each rounding a larger one with every iteration, in double as in
# single precision: one iteration a step here; and fewer of Langevin dynamics. And two models of latents that are summed
# out, and chains that rows keep.
mkdir shipped
for spec in "$here"/specs/*.spm "$here"/specs/*/*.spm; do
  sed 's|from "\.\./|from "|; s/lbfgs(steps = [0-9]*/lbfgs(steps = 1/; s/map(steps = [0-9]*, optimizer = lbfgs/map(steps = 1, optimizer = lbfgs/
    s/langevin(steps = [0-9]*/langevin(steps = 6/; s/unit\[3, 64, 64\]/unit[3, 32, 32]/; s/real\[15, 4, 4\]/real[15, 2, 2]/' \
    "$spec" >shipped/"$(basename "$spec")"
done
cp "$here/tests/emit/summed.spm" "$here/tests/emit/chains.spm" "$here/tests/emit/names.spm" "$here/tests/emit/alike.spm" shipped/
sed 's/adam(lr = 1e-2)/adam(lr = 1e-2, clip = 1)/' "$here/tests/emit/summed.spm" >shipped/clipped.spm
sed 's/top_k_sparsemax(q.bits, k = 4)/sparsemap(q.bits, budget = 3)/' "$here/tests/emit/summed.spm" >shipped/summed_vectors.spm
for length in 784 64 48; do ./make_numbers rows-$length.npy 160 $length; done
for length in 784 98 12; do ./make_numbers bits-$length.npy 160 $length bits; done
./make_numbers labels.npy 160 1 labels
./make_numbers A_true.npy 48 20 # the dictionary that *_synthetic begin from: spmc looks beside the spec, a trainer where it runs
cp A_true.npy shipped/
labelled='--data pixels=rows-64.npy --data y=labels.npy'
# Two compilers read each file with all warnings on (clang tells of functions without use, too), and a third one, which
# needs a fiftieth of the time, makes the program; where one of them is missing gcc does all.
quick=false
if have clang && have tcc; then quick=true; fi
for spec in shipped/*.spm; do
  name=$(basename "$spec" .spm)
  inputs= values=
  case $name in
  sdlgm_tags*) inputs='--data features=rows-784.npy --data tags=bits-12.npy' values='L=12 H=32' ;;
  bit_vector_*) inputs='--data x=bits-98.npy' values='D=98 K=8 L=16 held=64' ;;
  semi_supervised_*) inputs=$labelled values='D=64' ;;
  chains) inputs='--data x=rows-48.npy' ;;
  names) inputs='--data main=rows-48.npy' ;;
  *_synthetic) inputs='--data clean=rows-48.npy' values='D=48 G=10' ;;
  entropy_amortised|entropy_gaussian|sparse_coding_elbo) inputs='--data x=rows-48.npy' values='K=12' ;;
  sdlgm*) inputs='--data x=bits-784.npy' values='L=4 K=20 H=32' ;;
  esac
  case $name in
  signalling_game*) values='S=32 E=16 M=16' ;;
  sparse_generator_texture) ;;
  sparse_generator*|abp_*) values='D=196 K=16' ;;
  own_prior|spike_slab_vae|slash_vae|cauchy_vae|secant_coder) values='K=8' ;;
  esac
  "$spmc" emit "$spec" ${inputs:---data x=rows-784.npy} $values --main -o "$name.c" >out 2>&1 ||
    "$spmc" emit "$spec" $values --main -o "$name.c" >out 2>&1 || { echo "not ok $name is emitted:"; head -5 out; continue; }
  if $quick; then
    check "$name is clean to gcc" gcc $strict -fsyntax-only "$name.c"
    check "$name is clean to clang" clang $strict -fsyntax-only "$name.c"
    check "$name with tcc" tcc "$name.c" -o model -lopenblas -lm
  else
    check "$name with gcc" gcc $strict -O0 "$name.c" -o model -lopenblas -lm
  fi
  case $name in bit_vector_vae) # whose kernel has vectors of its own
    check "$name with vectors" gcc $strict -O2 -march=native -c "$name.c" -o model.o ;;
  esac
  data=$(./model --help | sed -n 's/^Data: \([A-Za-z_]*\).*/\1/p')
  length=$(./model --data $data=rows-784.npy --epochs 0 2>&1 | sed -n 's/.* wants \([0-9]*\)$/\1/p')
  rows=rows-${length:-784}.npy
  [ -n "$inputs" ] || inputs="--data $data=$rows"
  [ -e $rows ] || ./make_numbers $rows 160 $length
  inputs="$inputs $(echo "$inputs" | sed 's/--data/--valid/g')"
  ./model $inputs --batch 160 --epochs 3 --seed 5 >emitted.txt 2>&1
  check "$name is trained" "$spmc" train "$spec" $inputs --batch 160 --epochs 3 --seed 5 --threads 1 -q --force --out run $values
  same_numbers "$name follows spmc train for 3 steps" 1e-5 emitted.txt run/metrics.csv
  same_numbers "$name is evaluated as spmc train does" 1e-5 emitted.txt run/metrics.csv valid
  case $name in abp_*|chains|entropy_bars|entropy_patches|sparse_generator_persistent)
    ./model $inputs --batch 160 --epochs 2 --seed 5 --save rows-half >/dev/null
    ./model $inputs --batch 160 --epochs 3 --seed 5 --save rows-whole >/dev/null
    ./model $inputs --batch 160 --epochs 3 --resume rows-half --save rows-resumed >/dev/null
    check "$name resumed ends in the same bytes" cmp rows-whole rows-resumed ;;
  esac
done

# Stages, rows held back, the best kept, gathered data; ended in each stage and resumed.
./make_numbers numbers-16.npy 256 16
check 'a model of stages is emitted' "$spmc" emit "$here/tests/emit/staged.spm" --main -o staged.c
check 'a model of stages with gcc' gcc $strict -O1 -DSPM_NO_BLAS staged.c -o model -lm
./model --data numbers-16.npy --seed 5 --save staged-whole >emitted.txt 2>&1
check 'a model of stages is trained' "$spmc" train "$here/tests/emit/staged.spm" --data x=numbers-16.npy --seed 5 --threads 1 -q --force --out run
same_numbers 'stages follow spmc train' 1e-5 emitted.txt run/metrics.csv
same_numbers 'stages are evaluated as spmc train does' 1e-5 emitted.txt run/metrics.csv valid
gcc -O0 -DSPM_NO_BLAS -include "$here/tests/emit/stop.h" staged.c -o stopped -lm
for stop in 2 4 6; do
  STOP=$stop ./stopped --data numbers-16.npy --seed 5 --save staged-half >/dev/null
  ./model --data numbers-16.npy --resume staged-half --save staged-resumed >/dev/null
  check "stages ended at epoch $stop and resumed" cmp staged-whole staged-resumed
done
sed 's/"run":"\( *\)[0-9] /"run":"\19 /' staged-half >staged-wrong
if ./model --data numbers-16.npy --resume staged-wrong >refused.txt 2>&1; then echo 'not ok a checkpoint of no stage is refused'
else check 'a checkpoint of no stage is refused' grep -q 'has no stage 9' refused.txt; fi

# The first stage ends when the best is two epochs old, and goes on to no other epoch when it is resumed there.
sed 's/lr = 3e-2);  batch = 32;  epochs = 3;/lr = 0.3);  batch = 32;  epochs = 30;  stop = patience(2);/' "$here/tests/emit/staged.spm" >patient.spm
check 'a model with patience is emitted' "$spmc" emit patient.spm --main -o patient.c
check 'a model with patience with gcc' gcc $strict -O1 -DSPM_NO_BLAS patient.c -o model -lm
./model --data numbers-16.npy --seed 5 --save patient-whole >emitted.txt 2>&1
"$spmc" train patient.spm --data x=numbers-16.npy --seed 5 --threads 1 -q --force --out run >/dev/null 2>&1
last=$(grep -c ^rough run/metrics.csv)
check 'patience ends before the last epoch' test "$last" -gt 3 -a "$last" -lt 30
same_numbers 'patience ends where it does in spmc train' 1e-3 emitted.txt run/metrics.csv
gcc -O0 -DSPM_NO_BLAS -include "$here/tests/emit/stop.h" patient.c -o stopped -lm
for stop in 2 $((last - 1)) $last $((last + 1)); do
  STOP=$stop ./stopped --data numbers-16.npy --seed 5 --save patient-half >/dev/null
  ./model --data numbers-16.npy --resume patient-half --save patient-resumed >/dev/null
  check "patience, ended at epoch $stop and resumed" cmp patient-whole patient-resumed
done

# Stages that take some of the rows, and balance them: the data are told apart again where a run goes on.
inputs="$labelled --valid pixels=rows-64.npy --valid y=labels.npy --batch 48 --epochs 2"
gcc -O0 -include "$here/tests/emit/stop.h" semi_supervised_vae.c -o stopped -lopenblas -lm
STOP=0 ./stopped $inputs --seed 5 --save chosen-whole >emitted.txt
"$spmc" train shipped/semi_supervised_vae.spm $inputs --seed 5 --threads 1 -q --force --out run D=64 >/dev/null 2>&1
same_numbers 'rows and balance follow spmc train in smaller batches' 1e-5 emitted.txt run/metrics.csv
for stop in 1 3; do
  STOP=$stop ./stopped $inputs --seed 5 --save chosen-half >/dev/null
  STOP=0 ./stopped $inputs --resume chosen-half --save chosen-resumed >/dev/null
  check "rows and balance ended at epoch $stop and resumed" cmp chosen-whole chosen-resumed
done
if STOP=0 ./stopped --data pixels=rows-64.npy --valid pixels=rows-64.npy >refused.txt 2>&1; then echo 'not ok rows that take none are refused'
else check 'rows that take none are refused' grep -q '`rows` of warm takes none of the 160 training rows' refused.txt; fi

"$spmc" emit "$here/specs/laplace_vae.spm" --main -o laplace.c K=4 H=16
gcc -O0 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -DSPM_NO_BLAS laplace.c -o checked -lm
check 'a run under the sanitizers' ./checked --data x=bars.idx --test bars.idx --epochs 1 --save a.safetensors
check 'and one resumed' ./checked --data x=bars.idx --epochs 2 --resume a.safetensors
gcc -O2 -g -DSPM_NO_BLAS laplace.c -o model -lm
if have valgrind; then check 'a run under valgrind' valgrind -q --error-exitcode=3 --leak-check=full --errors-for-leak-kinds=definite ./model --data bars.idx --epochs 1; else echo 'skip valgrind: not installed'; fi
./model --data bars.idx --epochs 2 --save whole >/dev/null
./model --data bars.idx --epochs 1 --save half >/dev/null
./model --data bars.idx --epochs 2 --resume half --save resumed >/dev/null
check 'a resumed run ends in the same bytes' cmp whole resumed
for damage in 's/"run":" /"run":"x/' 's/\([0-9]\) \([0-9]*"}\)/\1,\2/' 's/[0-9]"}/x"}/'; do
  sed "1$damage" half >damaged
  if cmp -s half damaged || ./model --data bars.idx --resume damaged >refused.txt 2>&1; then echo "not ok a checkpoint damaged by $damage is refused"
  else check "a checkpoint damaged by $damage is refused" grep -q 'damaged: is damaged where it says how far the run was' refused.txt; fi
done
tail -c +17 bars.idx >pixels
{ printf '\223NUMPY\001\000v\000'; printf "%-117s\n" "{'descr': '|u1', 'fortran_order': False, 'shape': (256, 28, 28), }"; cat pixels; } >bars.npy
./model --data bars.npy --epochs 2 --save from-npy >/dev/null
check '.npy and IDX are read alike' cmp whole from-npy
gcc -O1 -DSPM_NO_BLAS -DSPM_REAL=double laplace.c -o model-double -lm
./model-double --data bars.idx --epochs 3 --batch 256 >double.txt
./model --data bars.idx --epochs 3 --batch 256 >single.txt
sed -n 's/^epoch .* objective \([-0-9.e+]*\).*/\1/p' double.txt | awk 'BEGIN { print "objective" } { print }' >double.csv
same_numbers 'double precision follows single' 1e-4 single.txt double.csv
# A checkpoint that cannot be kept is told of before the first epoch, and leaves the one there is as it was.
mkdir -p folder
for bad in nowhere/checkpoint folder bars.npy; do # the last is somebody else's
  if ./model --data bars.idx --epochs 1 --save $bad >out 2>&1; then echo "not ok --save $bad is refused"
  elif grep -q '^epoch' out; then echo "not ok --save $bad is refused before the first epoch"
  else echo "ok --save $bad is refused at the start: $(head -1 out)"; fi
done
cp half kept
check 'a checkpoint is tried without a trace' ./model --data bars.idx --epochs 0 --save kept
check 'a checkpoint that is there stays until there is another' cmp half kept
[ ! -e kept.new ] || echo 'not ok kept.new is left'
{ printf '\223NUMPY\001\000v\000'; printf "%-117s\n" "{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976, 784), }"; cat pixels; } >huge.npy
if ./model --data huge.npy >refused.txt 2>&1; then echo 'not ok a file that says it is huge is refused'
else check 'a file that says it is huge is refused' grep -q 'error: not enough memory: 36[0-9]* MB' refused.txt; fi
printf 'short' >short.idx
for bad in missing.idx short.idx "$here/tests/emit/first.spm"; do
  if ./model --data x=$bad >out 2>&1; then echo "not ok $bad is refused"; else echo "ok a bad file is refused: $(cut -c1-70 out | head -1)"; fi
done

if "$spmc" emit "$here/specs/laplace_vae.spm" --main --header none.h -o none.c >refused.txt 2>&1; then echo 'not ok a trainer has no header'
else check 'a trainer has no header' grep -q 'a trainer exports nothing' refused.txt; fi
"$spmc" emit "$here/tests/emit/library.spm" -o none.c >out 2>&1
if grep -q 'nothing to emit' out && [ ! -e none.c ]; then echo 'ok a library leaves nothing to emit'; else echo 'not ok a library leaves nothing to emit'; cat out; fi

for word in restrict class spm_model size_t EOF gamma; do
  sed "s/^model first/model $word/" "$here/tests/emit/first.spm" >word.spm
  if "$spmc" emit word.spm --lib -o word.c >refused.txt 2>&1; then echo "not ok a library called $word is refused"
  else check "a library called $word is refused" grep -q 'word.spm:.*error.reserved-name.* called after the model' refused.txt; fi
done
for name in first second; do
  check "$name as a library" "$spmc" emit "$here/tests/emit/$name.spm" --lib --header $name.h -o $name.c
  check "$name is clean as a library" gcc $strict -DSPM_STATIC -O2 -c $name.c -o $name.o
  check "$name exports its own names only" sh -c "nm -g --defined-only $name.o | awk '{ print \$3 }' | grep -v -e '^${name}_' -e '^spm_model_$name\$' | wc -l | grep -qx 0"
  printf '#include "%s.h"\nint main() { return %s_size(1, 0) == 0; }\n' $name $name >header.cc
  if have g++; then check "$name.h in C++" g++ -std=c++11 -Wall -Wextra -pedantic -Werror -c header.cc; else echo 'skip C++: no g++'; fi
done
if gcc -g -O1 -fsanitize=thread -DSPM_NO_BLAS -I. "$here/tests/emit/threads.c" first.c second.c -o threads -lm -lpthread 2>out; then
  check 'two models and two instances in threads' setarch -R ./threads
else echo 'skip ThreadSanitizer: not installed'; fi
if have pkg-config; then
  for name in first second; do gcc -O0 -c $name.c && ar rcs lib$name.a $name.o; done
  printf '#include "first.h"\n#include "second.h"\nint main(void) { return first_size(1, 1) == second_size(1, 1); }\n' >both.c
  check 'two models linked through pkg-config' sh -c 'PKG_CONFIG_PATH=. gcc both.c $(PKG_CONFIG_PATH=. pkg-config --cflags --libs first second) -o both && ./both'
else echo 'skip pkg-config: not installed'; fi
for name in third fourth; do
  batch=64
  [ $name = third ] || batch=256
  check "$name, whose rows own values, as a library" "$spmc" emit "$here/tests/emit/$name.spm" --lib --header $name.h -o $name.c
  check "$name with its host" gcc $strict -O0 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -DSPM_NO_BLAS -DSPM_STATIC -DSPM_BATCH_ROWS=$batch \
    -DMODEL=$name -DHEADER="\"$name.h\"" -DBATCH=$batch -I. "$here/tests/emit/rows.c" $name.c -o rows -lm
  check "$name trains in its host" ./rows numbers-16.npy
  cp out emitted.txt
  "$spmc" train "$here/tests/emit/$name.spm" --data x=numbers-16.npy --valid x=numbers-16.npy --seed 5 --threads 1 -q --force --out run >/dev/null 2>&1
  same_numbers "$name follows spmc train in its host" 1e-5 emitted.txt run/metrics.csv
done
gcc -O1 -DSPM_NO_BLAS -DSPM_STATIC -I. "$here/tests/emit/static.c" first.c -o static -lm && check 'memory that is static' ./static
check 'a header gives dims as numbers, too' grep -q 'q.h.dense.W : \[H, D\] = \[12, 16\]' first.h
awk '/Outputs of/ { split($0, quoted, "\""); program = quoted[2]; next }
  program && /^ \*   / { size = match($0, /= \[[0-9]+\]/) ? substr($0, RSTART + 3, RLENGTH - 4) : 1; printf "ASK(\"%s\", \"%s\", %s)\n", program, $2, size }' first.h >asks.h
check 'a header lists what every program gives' sh -c 'test "$(grep -c ASK asks.h)" = 10'
gcc -O0 -DSPM_NO_BLAS -I. "$here/tests/emit/outputs.c" first.c -o outputs -lm && check 'outputs are there as the header lists them' ./outputs

for target in aarch64-linux-gnu-gcc/qemu-aarch64 arm-linux-gnueabihf-gcc/qemu-arm; do
  cc=${target%/*} run=${target#*/}
  if have $cc && have $run; then
    $cc -std=c99 -O1 -static -DSPM_NO_BLAS laplace.c -o foreign -lm && $run ./foreign --data bars.idx --epochs 2 --save foreign.safetensors >/dev/null
    check "$cc gives the same bytes" cmp foreign.safetensors whole
  else echo "skip $cc with $run: not installed"; fi
done
narrow=
if have i686-linux-gnu-gcc; then narrow='i686-linux-gnu-gcc -static'
elif echo 'int main(void) { return 0; }' | gcc -m32 -x c - -o m32 2>/dev/null; then narrow='gcc -m32'; fi
if [ -n "$narrow" ]; then
  $narrow -msse2 -mfpmath=sse -std=c99 -O1 -DSPM_NO_BLAS laplace.c -o narrow -lm && ./narrow --data bars.idx --epochs 2 --save narrow.safetensors >/dev/null
  check '32 bits give the same bytes' cmp narrow.safetensors whole
else echo 'skip 32 bits: no compiler for them'; fi

SPMC=$spmc MAKE_BARS=$bars; export SPMC MAKE_BARS
check 'examples/standalone runs' sh "$here/examples/standalone/run.sh"
check 'examples/microcontroller runs' sh "$here/examples/microcontroller/run.sh"
embed=${SPM_BUILD:-$here/build}/examples/embed/embed
check 'examples/embed runs' "$embed"
sed -n '/^ \*   #include <spm.h>/,/^ \*\/$/p' "$here/compiler/spm.h" | sed -e '$d' -e 's/^ \*   //' -e 's/^ \*$//' >shown.c
check 'spm.h shows the example that runs' cmp shown.c "$here/examples/embed/embed.c"
exit 0
