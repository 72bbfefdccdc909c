# The real program: what it says and which exit code it gives on good and bad input, and that failures leave nothing
# behind. Lines "ok NAME" / "not ok NAME"; run by tests/run.sh. SPMC: the program, SPM_BUILD: where make_bars is.
. "$(dirname "$0")/checks.sh"
spec=$here/specs/laplace_vae.spm
absent() { for file; do [ ! -e "$file" ] || return 1; done; }
present() { for file; do [ -s "$file" ] || { echo "missing: $file"; return 1; }; done; }

"${SPM_BUILD:-$here/build}/examples/make_bars" train.idx 3000 1 && "${SPM_BUILD:-$here/build}/examples/make_bars" test.idx 700 2 || exit 1
gzip -k train.idx
small="H=16 K=4 --seed 5 --quiet"

# --- words ---
expect 'no command' 2 'usage: spmc' "$spmc"
expect 'help' 0 'commands:' "$spmc" --help
expect 'version' 0 '^spmc [0-9]' "$spmc" --version
expect 'version names the BLAS' 0 'BLAS' "$spmc" --version
for command in train eval encode reconstruct check diagnose; do expect "help of $command" 0 'Usage: spmc '$command "$spmc" $command --help; done
expect 'help as a command' 0 'Usage: spmc train' "$spmc" help train
expect 'unknown command' 2 'did you mean .train.' "$spmc" trian
expect 'unknown option' 2 "did you mean '--epochs'" "$spmc" train $spec --data x=train.idx --out run --epocs 3
expect 'option of another command' 2 "there is no option '--epochs'" "$spmc" check $spec --epochs 3
expect 'option without its text' 2 'requires an argument' "$spmc" train $spec --data x=train.idx --out
expect 'bad number' 2 'not .many.' "$spmc" train $spec --data x=train.idx --out run --epochs many
expect 'no epochs' 2 'at least 1' "$spmc" train $spec --data x=train.idx --out run --epochs 0
expect 'negative seed' 2 'not .-3' "$spmc" train $spec --data x=train.idx --out run --seed=-3
expect 'bad color' 2 'auto, always or never' "$spmc" check $spec --color=red
expect 'no model' 2 'MODEL.spm is missing' "$spmc" check
expect 'two models' 2 'is enough' "$spmc" check $spec $spec
expect 'no data' 2 '--data' "$spmc" train $spec --out run
expect 'no directory' 2 '--out' "$spmc" train $spec --data x=train.idx
expect 'data twice' 2 'twice' "$spmc" train $spec --data x=train.idx --data x=train.idx --out run
expect 'value that is no number' 2 'is a number' "$spmc" check $spec K=many
expect 'unknown stage' 2 'did you mean .simplify.' "$spmc" check $spec --dump=simplfy

# --- specs ---
expect 'missing spec' 1 'missing.spm' "$spmc" check missing.spm
expect 'spec that is a directory' 1 '' "$spmc" check .
expect 'unknown value' 1 'KK' "$spmc" check $spec KK=3
expect 'an option as a value' 1 'it is an option: --epochs' "$spmc" check $spec epochs=3
expect 'a value that the spec does not name' 1 'let beta = ' "$spmc" check $spec beta=3
printf 'model broken;\nlatent z : real[3;\n' > broken.spm
expect 'syntax error' 1 'broken.spm:2' "$spmc" check broken.spm
expect 'syntax error as JSON' 1 '"line": *2' "$spmc" check broken.spm --json
expect 'good spec' 0 'no problems found' "$spmc" check $spec
for stage in ast check derive simplify schedule c strips; do expect "dump of $stage" 0 '.' "$spmc" check $spec --dump=$stage; done

# --- data ---
head -c 20000 train.idx.gz > cut.idx.gz
head -c 100000 train.idx > cut.idx
printf '\000\000\010\001\000\000\000\005abcde' > labels.idx
npy() { # npy FILE ROWS COLUMNS FOUR-BYTES: a float32 array of one value
  { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($2, $3), }"; printf "%.0s$4" $(seq $(($2 * $3))); } > $1
}
npy large.npy 2 784 '\000\000\000@'
npy good.npy 2 784 '\000\000\000?'
expect 'missing data' 1 'none.idx' "$spmc" train $spec --data x=none.idx --out run $small
expect 'truncated gz' 1 'cut.idx.gz' "$spmc" train $spec --data x=cut.idx.gz --out run $small
expect 'truncated idx' 1 'cut.idx' "$spmc" train $spec --data x=cut.idx --out run $small
expect 'not a data file' 1 'broken.spm' "$spmc" train $spec --data x=broken.spm --out run $small
expect 'data that is a directory' 1 '' "$spmc" train $spec --data x=. --out run $small
expect 'wrong rank' 1 'labels.idx' "$spmc" train $spec --data x=labels.idx --out run $small
expect 'wrong rank cites the declaration' 1 'laplace_vae.spm:' "$spmc" train $spec --data x=labels.idx --out run $small
expect 'values out of range' 1 '1,568 of 1,568 values of x lie outside \[0, 1\]; the largest is 2' "$spmc" train $spec --data x=large.npy --out run $small
expect 'bad test data is found before training' 1 'large.npy' "$spmc" train $spec --data x=train.idx --test x=large.npy --out run $small
expect 'and say what to do' 1 'scale it into \[0, 1\]\|have to be scaled' "$spmc" train $spec --data x=large.npy --out run $small
printf 'model labels;\ndim D;  dim C;\ndata x : real[D];\ndata y : category(C);\nlet s = dense(x, C);\nlikelihood y ~ categorical(logits = s);\nobjective log_lik(y);\n' > labels.spm
printf '1 2\n3 4\n' > two.txt && printf '1\n2\n' > y.txt
expect 'classes that no file counts' 1 'how many classes there are' "$spmc" train labels.spm --data x=two.txt --data y=y.txt --out run
expect 'labels from 1' 1 'subtract 1' "$spmc" train labels.spm C=2 --data x=two.txt --data y=y.txt --out run
expect 'data without a value for the dim' 1 'no data called .q.' "$spmc" train labels.spm C=3 --data q=two.txt --data y=y.txt --out run
expect 'two files without names' 2 'NAME=FILE for each' "$spmc" train labels.spm --data two.txt --data y.txt --out run
printf 'model centre;\ndim D;\ndata x : real[D];\nparam m : real[D];\nminimize sum((x - m)^2);\n' > real.spm
expect 'bytes for real numbers' 0 'takes as 0 to 255' "$spmc" train real.spm --data x=test.idx --out bytes --epochs 1 --seed 1
rm -r bytes
expect 'unknown data' 1 'no data called .y.' "$spmc" train $spec --data y=train.idx --out run $small
check 'failures leave nothing behind' absent run
expect 'directory under a file' 1 'train.idx' "$spmc" train $spec --data x=train.idx --out train.idx/run $small
expect 'directory that is a file' 1 'train.idx' "$spmc" train $spec --data x=train.idx --out train.idx $small
expect 'device without room' 1 '' sh -c "'$spmc' check $spec > /dev/full"
mkdir other && echo hello > other/file
expect 'directory of something else' 1 'other' "$spmc" train $spec --data x=train.idx --out other $small
check 'which stays as it was' [ "$(ls other)" = file ]

# --- a run ---
expect 'train' 0 'elbo' "$spmc" train $spec --data x=train.idx.gz --valid x=test.idx --test x=test.idx --out run --epochs 2 $small
check 'its files' present run/config.json run/model.spm run/metrics.jsonl run/metrics.csv run/checkpoints/last.safetensors run/model.safetensors run/figures/reconstructions.png
expect 'directories above it are made' 0 '' "$spmc" train $spec --data x=test.idx --out deep/down/run --epochs 1 $small
check 'and hold the run' present deep/down/run/model.safetensors
expect 'relaxed posteriors' 0 'relaxation_gap' "$spmc" train "$here/specs/binary_concrete_vae.spm" --data x=train.idx --test x=test.idx H=16 K=4 --seed 5 --epochs 2 --plain --out bits
check 'the relaxation gap of each epoch' grep -q '^epoch,step,.*,relaxation_gap$' bits/metrics.csv
check 'no temporary files' [ -z "$(find run -name '*.tmp*')" ]
check 'a row an epoch' [ "$(wc -l < run/metrics.jsonl)" -eq 2 ]
expect 'seed in config.json' 0 '"seed": "5"' cat run/config.json
expect 'a second run does not overwrite' 1 '--resume' "$spmc" train $spec --data x=train.idx --out run $small
if command -v flock >/dev/null; then
  expect 'nor one beside another' 1 'another spmc is training into' flock run "$spmc" train $spec --data x=train.idx --out run --force $small
fi
sed 's/lr = 1e-3/lr = rate/' $spec >rate.spm && echo 'schedule rate = 1e-3 * sqrt(20 - step);' >>rate.spm
cp -r run anew
expect 'a learning rate that is no number' 1 'step 26: the learning rate is nan, in 5 steps one after the other; look at its schedule' "$spmc" train rate.spm --data x=train.idx --out anew --force $small
check 'nothing of the run before passes for that one' absent anew/model.safetensors
expect 'data without a name' 0 '' "$spmc" train $spec --data train.idx --out unnamed --epochs 1 $small
expect 'floats' 0 '' "$spmc" train $spec --data x=good.npy --out floats --epochs 1 $small
expect 'eval' 0 'elbo' "$spmc" eval run --data x=test.idx
expect 'eval as JSON' 0 '"rows": 700, "seed": 5, "results": {.*"elbo": -' "$spmc" eval run --data x=test.idx --json
expect 'eval of each row' 0 'mean  *10%  *50%  *90%' "$spmc" eval run --data x=test.idx --each each.csv
check 'a line a row' [ "$(wc -l < each.csv)" -eq 701 ]
each_mean=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "elbo") c = i } NR > 1 { s += $c } END { printf "%.1f", s / (NR - 1) }' each.csv)
expect 'whose mean is that of all' 0 "elbo  *$each_mean" "$spmc" eval run --data x=test.idx
expect 'quantiles as JSON' 0 '"quantiles": {"0.1": {.*"0.5": {.*"0.9": {.*"elbo"' "$spmc" eval run --data x=test.idx --each each.csv --json
expect 'each row to nowhere' 1 'nowhere/each.csv' "$spmc" eval run --data x=test.idx --each nowhere/each.csv
expect 'eval of no run' 1 'config.json' "$spmc" eval other --data x=test.idx
expect 'encode' 0 'codes/z.npy  700 rows of' "$spmc" encode run --data x=test.idx --out codes
expect 'values beside the codes' 0 'sd.npy  700 rows of 4 numbers' "$spmc" encode run --data x=test.idx --out more --also 'sd=exp(q.log_sigma)' --also 'cost=kl_each(z)'
check 'each in a file' present more/z.npy more/sd.npy more/cost.npy
expect 'a value that is not there' 1 '^--also:1:.*q sets no field' "$spmc" encode run --data x=test.idx --out more --also sd=q.sd
expect 'a value under a latent' 1 'take another name' "$spmc" encode run --data x=test.idx --out more --also z=q.mu
expect 'a value without a name' 2 'NAME=EXPRESSION' "$spmc" encode run --data x=test.idx --out more --also q.mu
expect 'reconstruct' 0 'codes/x.npy  700 rows of' "$spmc" reconstruct run --data x=test.idx --out codes
expect 'codes are data again' 1 'codes/z.npy' "$spmc" eval run --data x=codes/z.npy
expect 'reconstructions are data again' 0 '700 rows' "$spmc" eval run --data x=codes/x.npy
expect 'what was read is not written over' 1 'codes/x.npy: was read from' "$spmc" reconstruct run --data x=codes/x.npy --out codes
cp $spec mine.spm
expect 'nor is a spec by what it becomes' 1 'mine.spm: was read from' "$spmc" emit mine.spm -o ./mine.spm
check 'it is as it was' cmp $spec mine.spm
expect 'encode to nowhere' 2 '--out DIRECTORY is missing' "$spmc" encode run --data x=test.idx
expect 'encode without data' 2 '--data' "$spmc" encode run --out codes
expect 'eval with wrong data' 1 'labels.idx' "$spmc" eval run --data x=labels.idx
cp -r run damaged && head -c 3000 run/model.safetensors > damaged/model.safetensors
expect 'eval of a damaged model' 1 'model.safetensors' "$spmc" eval damaged --data x=test.idx
expect 'draws from the priors' 0 'z.npy  20 rows of 4 numbers' "$spmc" sample run --rows 20 --out drawn
"$spmc" sample run --rows 20 --threads 3 --out drawn3 >/dev/null && "$spmc" sample run --rows 20 --seed 9 --out drawn9 >/dev/null
check 'draws: the same on one and three threads' cmp drawn/x.npy drawn3/x.npy
check 'draws: others by another seed' test "$(cmp drawn/z.npy drawn9/z.npy | wc -l)" = 1
printf 'model steps;\ndata x : unit[784];\nlatent z : real[4];\nlet t = 1;\nparam W : real[784, 4] unit_norm(over = 784) init normal(0, 1);\nprior z ~ laplace(0, 1);\nlikelihood x ~ normal(W @ z, 0.3);\ninfer z by fista(steps = 15, step_size = t);\ntrain { batch = 100; epochs = 2; }\n' >steps.spm
"$spmc" train steps.spm --data x=test.idx --out steps -q >steps.log 2>&1
check 'steps of inference that are too long are told of once' sh -c 'test "$(grep -c "warning: the steps by which .z. is inferred grow.*step_size = lipschitz" steps.log)" = 1'
check 'steps that are not too long are not' test -z "$("$spmc" train steps.spm --data x=test.idx t=0.05 --out settled -q 2>&1)"
printf 'model far;\ndim D = 784;\ndata x : unit[D];\nlatent z : real[4];\nparam W : real[D, 4] init normal(0, 1);\nprior z ~ laplace(0, 1);\nlikelihood x ~ normal(W @ z, 0.1);\ninfer z by ista(steps = 30, step_size = schedule_of_steps);\nschedule schedule_of_steps = training ? 0 : 1;\ntrain { epochs = 1; }\n' >far.spm
"$spmc" train far.spm --data x=test.idx --out far -q
expect 'codes that are no numbers are told of' 0 'warning: z: [67][0-9]* of 700 rows hold values that are not finite' "$spmc" encode far --data x=test.idx --out far-codes
printf 'model given;\ndim D;\ndata x : unit[D];\ndata y : real;\nlatent z : real;\nprior z ~ normal(y, 1);\nposterior z ~ normal(y, 0.1);\nlikelihood x ~ bernoulli(prob = expand(sigmoid(z), D));\ntrain { epochs = 1; }\n' >given.spm
printf '%s\n' 0 1 2 >y.csv && { printf '\000\000\010\003\000\000\000\003\000\000\000\034\000\000\000\034'; head -c $((3 * 784)) /dev/zero; } >three.idx
"$spmc" train given.spm --data x=three.idx --data y=y.csv --out given -q
expect 'draws given data' 0 'z.npy  3 rows of 1 numbers' "$spmc" sample given --data y=y.csv --out given-drawn
expect 'draws without the data that they need' 1 'no file was given for the data .y.' "$spmc" sample given --out given-drawn
expect 'draws by rows and by files' 2 'goes without --data' "$spmc" sample given --data y=y.csv --rows 3 --out given-drawn
printf 'model bare;\ndata x : real[2];\nlatent z : real[2];\nprior z ~ normal(0, 1);\nposterior z ~ normal(x, 1);\nlikelihood x ~ wide(z);\ndistribution wide(v : real; m) { log_pdf = -log1p((v - m)^2) - log(pi); }\ntrain { epochs = 1; }\n' >bare.spm
printf '1,2\n3,4\n' >pairs.csv && "$spmc" train bare.spm --data x=pairs.csv --out bare -q
expect 'draws of what can be drawn' 0 'warning: .x. is left out: wide, its likelihood, declares no mean and no sampler' "$spmc" sample bare --out bare-drawn
check 'and only of that' sh -c 'test -s bare-drawn/z.npy && test ! -e bare-drawn/x.npy'
expect 'nothing to reconstruct' 1 'declares no mean' "$spmc" reconstruct bare --data x=pairs.csv --out bare-drawn
expect 'a run in the place of a spec' 1 'the spec of this run is .run/model.spm' "$spmc" explain run
expect 'a file that may not grow' 1 'larger than the system allows' sh -c 'ulimit -f 2; exec "$0" "$@"' "$spmc" train $spec --data x=train.idx --out full --epochs 1 $small
sed 's/exp(q.log_sigma)/q.log_sigma/' $spec >sigma.spm
expect 'where a support is not proved' 1 'sigma.spm:[0-9]*: .sd. must be positive, which is not known of .q.log_sigma.' "$spmc" train sigma.spm --data x=train.idx --out sigma --epochs 1 $small
printf 'model coins;\ndata x : real[2];\ndata y : category(3);\nlikelihood y ~ categorical(prob = sigmoid(dense(x, 3)));\n' >coins.spm && printf '%s\n' 0 1 >pair.csv
expect 'what does not sum to 1' 1 'coins.spm:4: .prob. must be simplex, without negative numbers and of sum 1, which is not known of .sigmoid(dense(x, 3)).' "$spmc" train coins.spm --data x=pairs.csv --data y=pair.csv --batch 1 --out coins
expect 'gradients' 0 'no problems found' "$spmc" diagnose $spec D=9 H=7 K=3
sed 's/adam(lr = 1e-3)/adam(lr = 1e-3, clip = 0.01)/' $spec >clipped.spm
expect 'gradients before they are clipped' 0 'no problems found' "$spmc" diagnose clipped.spm D=9 H=7 K=3

# --- the same bytes ---
"$spmc" train $spec --data x=train.idx --valid x=test.idx --out one --epochs 2 --threads 1 $small >/dev/null 2>&1
"$spmc" train $spec --data x=train.idx --valid x=test.idx --out two --epochs 2 --threads 2 $small >/dev/null 2>&1
check 'one and two threads: the same model' cmp one/model.safetensors two/model.safetensors
check 'one and two threads: the same metrics' cmp one/metrics.csv two/metrics.csv

# oneDNN is there or it is not; it is never put in place of OpenBLAS, or the other way round.
expect 'an unknown BLAS' 2 'openblas or onednn' "$spmc" train $spec --data x=train.idx --out blas --blas=mkl $small
expect 'blas in config.json' 0 '"blas": "openblas' cat one/config.json
if "$spmc" --version | grep -q 'onednn [0-9]'; then
  "$spmc" train $spec --data x=train.idx --out blas --epochs 2 --threads 1 --blas onednn $small >/dev/null 2>&1
  "$spmc" train $spec --data x=train.idx --out blas-two --epochs 2 --threads 2 --blas onednn $small >/dev/null 2>&1
  check 'oneDNN, one and two threads: the same model' cmp blas/model.safetensors blas-two/model.safetensors
  expect 'onednn in config.json' 0 '"blas": "onednn' cat blas/config.json
  "$spmc" train $spec --data x=train.idx --out blas-more --epochs 1 --blas onednn $small >/dev/null 2>&1
  expect 'resume with another BLAS' 1 'are from onednn' "$spmc" train $spec --data x=train.idx --out blas-more --resume --epochs 2 --blas openblas $small
  expect 'resume without --blas' 0 '' "$spmc" train $spec --data x=train.idx --out blas-more --resume --epochs 2 $small
  expect 'takes that of the run' 0 '"blas": "onednn' cat blas-more/config.json
  check 'oneDNN, resumed: the same model' cmp blas/model.safetensors blas-more/model.safetensors
else
  expect 'oneDNN is missing' 1 'libdnnl' "$spmc" train $spec --data x=train.idx --out blas --blas onednn $small
fi

# Long enough to be caught in the middle: a TERM, then a KILL, each followed by --resume.
long="--data x=train.idx --valid x=test.idx --epochs 60 --batch 32 $small"
"$spmc" train $spec $long --out whole >/dev/null 2>&1
for signal in TERM KILL; do
  "$spmc" train $spec $long --out stopped-$signal >stopped.log 2>&1 &
  process=$!
  [ $signal = TERM ] && sleep 0.4
  waited=0
  while [ $signal = KILL ] && [ ! -s stopped-$signal/checkpoints/last.safetensors ] && [ $waited -lt 300 ]; do sleep 0.05; waited=$((waited + 1)); done
  kill -$signal $process 2>/dev/null
  wait $process
  code=$?
  if [ $code -eq 0 ]; then
    echo "skip $signal: the run was over too soon"
    continue
  fi
  [ $signal = TERM ] && check 'SIGTERM: exit code 143' [ $code -eq 143 ]
  [ $signal = TERM ] && expect 'SIGTERM: says how to go on' 0 'resume' cat stopped.log
  expect "$signal: resume" 0 '' "$spmc" train $spec $long --out stopped-$signal --resume
  check "$signal: the same model as without it" cmp whole/model.safetensors stopped-$signal/model.safetensors
  check "$signal: the same metrics" cmp whole/metrics.csv stopped-$signal/metrics.csv
  expect "$signal: another seed is refused" 1 'seed' "$spmc" train $spec $(echo "$long" | sed 's/--seed 5/--seed 6/') --out stopped-$signal --resume
  sed 's/laplace(0, 1)/normal(0, 1)/' $spec >other.spm
  expect "$signal: another spec is refused" 1 'not the spec of the run' "$spmc" train other.spm $long --out stopped-$signal --resume
  expect "$signal: another override is refused" 1 'NAME=VALUE' "$spmc" train $spec $(echo "$long" | sed 's/K=[0-9]*/K=5/') --out stopped-$signal --resume
done


# What cannot be made leaves nothing behind that is in the way of the next try.
expect 'too large for the memory' 1 'memory' "$spmc" train $spec $(echo "$long" | sed "s/K=[0-9]*/K=900000000/") --out too-large
check 'too large: nothing is left' test ! -e too-large
