# Stages of training, rows held back and the best of them kept, through the real program: what each stage begins with, what
# stays, and that a run that is stopped anywhere goes on with the same bytes. Lines "ok NAME" / "not ok NAME".
spmc=${SPMC:-build/spmc}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /tmp/spm-stages-XXXXXX)
trap 'rm -rf "$work"' EXIT
case $spmc in /*) ;; *) spmc=$PWD/$spmc ;; esac
cd "$work" || exit 1
NO_COLOR=1; export NO_COLOR

expect() { # expect NAME CODE PATTERN COMMAND...
  name=$1 code=$2 pattern=$3
  shift 3
  "$@" >out 2>&1
  got=$?
  if [ $got -eq "$code" ] && { [ -z "$pattern" ] || grep -q -e "$pattern" out; }; then
    echo "ok $name"
  else
    echo "not ok $name: exit code $got, $code wanted; looking for '$pattern' in"
    sed 's/^/    /' out
  fi
}
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok $name"; else echo "not ok $name"; fi
}

"${SPM_BUILD:-$here/build}/examples/make_bars" train.idx 2000 1 && "${SPM_BUILD:-$here/build}/examples/make_bars" test.idx 300 2 || exit 1
spec() { # spec FILE TRAIN...
  file=$1
  shift
  cat >"$file" <<END
model staged;
dim D = 784;
data   x : unit[D];
latent z : real[4];
prior  z ~ normal(0, 1);
encoder q(x) { h = relu(dense(x, 16));  mu = dense(h, 4);  sd = exp(dense(h, 4)); }
posterior z ~ normal(q.mu, q.sd);
likelihood x ~ bernoulli(logits = dense(relu(dense(z, 16)), D));
schedule rate = 0.03 / (1 + epoch);
metric used = sum(abs(q.mu) > 0.1);
$*
END
}
first='epochs = 6;  batch = 64;  valid = 400;  keep = best(used, smallest = true);  optimizer = adam(lr = 1e-2);'
second='epochs = 5;  batch = 100;  keep = best(elbo);  optimizer = adam(lr = rate);'
spec alone.spm "train { $first }"
spec two.spm "train warm { $first } train main { $second }"
options="--data x=train.idx --seed 5 --threads 1 --plain"
column() { # column RUN NAME: of metrics.csv, without its header
  awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } NR > 1 { print $c }' "$1/metrics.csv"
}

expect 'a single stage that keeps the best' 0 'kept epoch' "$spmc" train alone.spm $options --out alone
best=$(column alone valid.used | sort -g | head -n 1)
expect 'its best epoch is the one of the table' 0 "kept epoch $(column alone valid.used | grep -n -x -e "$best" | head -n 1 | cut -d: -f1)," "$spmc" train alone.spm $options --out alone --force
# The rows held back, as a file of their own: the kept model has there what was reported.
{ printf '\000\000\010\003\000\000\001\220\000\000\000\034\000\000\000\034'; tail -c $((400 * 784)) train.idx; } >held.idx
value=$("$spmc" eval alone --data x=held.idx --json | sed 's/.*"used": \([^,}]*\).*/\1/')
check 'what stays is the best' test "$(printf '%.4f' "$value")" = "$(printf '%.4f' "$best")"
check 'the last epoch was another' test "$(column alone valid.used | tail -n 1)" != "$best"

expect 'two stages' 0 '^main  epoch 5/5' "$spmc" train two.spm $options --out two
check 'the first is the run that it is alone' test "$(column two elbo | head -n 6)" = "$(column alone elbo)"
check 'metrics name the stage' test "$(column two stage | uniq -c | tr -s ' \n' ' ')" = " 6 warm 5 main "
check 'schedules begin anew' test "$(column two rate | sed -n 7p | xargs printf %.4f)" = 0.0300
check 'a learning rate of its own' test "$(column two main.lr | sed -n 8p | xargs printf %.4f)" = 0.0150
check 'the second begins with what the first kept' awk -v first="$(column two valid.elbo | sed -n 7p)" -v kept="$(column two valid.elbo | sed -n 1p)" 'BEGIN { exit !(first > kept) }'
"$spmc" train two.spm $options --out threads --threads 3 >/dev/null 2>&1
check 'one and three threads: the same model' cmp two/model.safetensors threads/model.safetensors
check 'one and three threads: the same metrics' cmp two/metrics.csv threads/metrics.csv
expect 'eval of what is left' 0 elbo "$spmc" eval two --data x=test.idx

# Stopped again and again, in each of the stages and wherever it happens to be.
spec long.spm "train warm { $first } train main { $second }"
sed -i 's/epochs = 6/epochs = 60/; s/epochs = 5/epochs = 60/' long.spm
"$spmc" train long.spm $options --out whole >/dev/null 2>&1
stops=0
"$spmc" train long.spm $options --out stopped >/dev/null 2>&1 & process=$!
while [ $stops -lt 40 ]; do
  sleep 0.2
  kill -TERM $process 2>/dev/null
  wait $process && break
  stops=$((stops + 1))
  "$spmc" train long.spm $options --out stopped --resume >/dev/null 2>&1 & process=$!
done
check 'it was stopped' test $stops -ge 2
check "stopped and resumed: the same model" cmp whole/model.safetensors stopped/model.safetensors
check "stopped and resumed: the same metrics" cmp whole/metrics.csv stopped/metrics.csv
"$spmc" train long.spm $options --out killed >/dev/null 2>&1 & process=$!
while [ ! -s killed/checkpoints/last.safetensors ] && kill -0 $process 2>/dev/null; do sleep 0.05; done
kill -KILL $process 2>/dev/null
wait $process 2>/dev/null
"$spmc" train long.spm $options --out killed --resume >/dev/null 2>&1
check "killed and resumed: the same model" cmp whole/model.safetensors killed/model.safetensors
check "killed and resumed: the same metrics" cmp whole/metrics.csv killed/metrics.csv

spec unjudged.spm "train { keep = best(elbo); }"
expect 'nothing to judge by' 1 'there must be validation rows: write `valid = N;`' "$spmc" train unjudged.spm $options --out unjudged
check 'leaves nothing behind' test ! -e unjudged
expect 'rows of a file to judge by' 0 'kept epoch' "$spmc" train unjudged.spm $options --valid x=test.idx --epochs 2 --out unjudged
spec all.spm "train { valid = 2000; }"
expect 'all rows are held back' 1 'none is left to train on' "$spmc" train all.spm $options --out all
