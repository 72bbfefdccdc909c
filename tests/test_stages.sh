# Stages of training, rows held back and the best of them kept, through the real program: what each stage begins with, what
# stays, and that a run that is stopped anywhere goes on with the same bytes. Lines "ok NAME" / "not ok NAME".
. "$(dirname "$0")/checks.sh"

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
for pause in 0.3 0.2 0.4 0.3 0.5 0.8; do # on a busy machine some end before training begins
  "$spmc" train long.spm $options --out stopped --resume >/dev/null 2>&1 & process=$!
  sleep $pause
  kill -TERM $process 2>/dev/null
  wait $process || stops=$((stops + 1))
done
"$spmc" train long.spm $options --out stopped --resume >/dev/null 2>&1
check 'it was stopped' test $stops -ge 1
check "stopped and resumed: the same model" cmp whole/model.safetensors stopped/model.safetensors
check "stopped and resumed: the same metrics" cmp whole/metrics.csv stopped/metrics.csv
"$spmc" train long.spm $options --out killed >/dev/null 2>&1 & process=$!
while [ ! -s killed/checkpoints/last.safetensors ] && kill -0 $process 2>/dev/null; do sleep 0.05; done
kill -KILL $process 2>/dev/null
wait $process 2>/dev/null
"$spmc" train long.spm $options --out killed --resume >/dev/null 2>&1
check "killed and resumed: the same model" cmp whole/model.safetensors killed/model.safetensors
check "killed and resumed: the same metrics" cmp whole/metrics.csv killed/metrics.csv

# patience(3): the stage ends three epochs after its best one, and is not gone on with where it is resumed.
spec patient.spm "train warm { $first  stop = patience(3); } train main { $second }"
sed -i 's/epochs = 6/epochs = 60/' patient.spm
"$spmc" train patient.spm $options --out patient >patient.log 2>&1
ended=$(column patient stage | grep -c warm)
best=$(column patient valid.used | head -n "$ended" | sort -g | head -n 1)
check 'patience ends three epochs after the best' test "$ended" = $(($(column patient valid.used | grep -n -x -e "$best" | head -n 1 | cut -d: -f1) + 3))
check 'and before the last epoch' test "$ended" -lt 60
check 'and says so' grep -q "ended after epoch $ended: used of the validation rows was not better for 3 epochs" patient.log
check 'the next stage follows' test "$(column patient stage | grep -c main)" = 5
sed 's/ train main .*//' patient.spm >once.spm
"$spmc" train once.spm $options --out once >/dev/null 2>&1 && cp once/model.safetensors once.kept
"$spmc" train once.spm $options --out once --resume >/dev/null 2>&1
check 'a stage that has ended is not gone on with' test "$(column once epoch | tail -n 1)" = "$ended"
check 'and leaves what it has kept' cmp once/model.safetensors once.kept
spec reached.spm "train warm { $first  stop = patience(3); }"
sed -i 's/epochs = 6/epochs = '"$((ended - 1))"'/' reached.spm
"$spmc" train reached.spm $options --out reached >/dev/null 2>&1 && "$spmc" train reached.spm $options --epochs 60 --out reached --resume >/dev/null 2>&1
check 'patience goes on counting where a run is resumed' cmp reached/metrics.csv once/metrics.csv
check 'with the same model' cmp reached/model.safetensors once/model.safetensors

spec unjudged.spm "train { keep = best(elbo); }"
expect 'nothing to judge by' 1 'there must be validation rows: write `valid = N;`' "$spmc" train unjudged.spm $options --out unjudged
check 'leaves nothing behind' test ! -e unjudged
expect 'rows of a file to judge by' 0 'kept epoch' "$spmc" train unjudged.spm $options --valid x=test.idx --epochs 2 --out unjudged
spec never.spm "metric lost = log(-1 - sum(x^2)); train { valid = 400;  keep = best(lost); }"
expect 'nothing is best where no value is a number' 0 'kept the parameters as they are: lost of the validation rows' "$spmc" train never.spm $options --epochs 1 --out never
spec all.spm "train { valid = 2000; }"
expect 'all rows are held back' 1 'none is left to train on' "$spmc" train all.spm $options --out all

# Rows chosen and balanced by what the data say: of 2,000 labels every fifth is 1, in 400 of 2,000 rows.
{ printf '\000\000\010\001\000\000\007\320'; yes '\001\000\000\000\000' | head -n 400 | tr -d '\n' | xargs -0 printf; } >labels.idx
chosen() { # chosen FILE TRAIN...
  file=$1
  shift
  cat >"$file" <<END
model chosen;
dim D = 784;
data x : unit[D];
data y : category(2);
param centre : real[D] init 0.5;
minimize 0.1 * sum((x - centre)^2) + index(y) * sum(centre^2);
metric ones = index(y);
metric wide = sum(x);
$*
END
}
both="--data x=train.idx --data y=labels.idx --seed 5 --threads 1 --plain"
chosen ones.spm "train { rows = index(y) == 1;  valid = 500;  batch = 50;  epochs = 2; }"
expect 'rows of one label' 0 '^300 rows$' "$spmc" train ones.spm $both --out ones
check 'nothing else is trained on' test "$(column ones ones | sort -u)" = 1
check 'nor validated on' test "$(column ones valid.ones | sort -u)" = 1
check 'an epoch is one pass over them' test "$(column ones step | tr '\n' ' ')" = "6 12 "
sgd='optimizer = sgd(lr = 1e-4);  epochs = 3;'
chosen plain.spm "train { batch = all;  $sgd }"
chosen equal.spm "train { batch = all;  balance = index(y) == 1;  $sgd }"
chosen shares.spm "train { batch = 100;  balance = index(y) == 1;  $sgd }"
chosen small.spm "train { batch = 100;  $sgd }"
expect 'equal shares' 0 '^2,000 rows, in equal shares: 400 and 1,600$' "$spmc" train shares.spm $both --out shares
check 'an epoch is one pass over the larger part' test "$(column shares step | tr '\n' ' ')" = "32 64 96 "
check 'the weighted share of the labels is that of the data' awk -v m="$(column shares ones | head -n 1)" 'BEGIN { exit !(m > 0.19999 && m < 0.20001) }'
"$spmc" train plain.spm $both --out plain >/dev/null && "$spmc" train equal.spm $both --out equal >/dev/null
# All rows at once, those of the smaller part four times: the same objective and the same gradient, but for rounding.
check 'weights keep the objective unbiased' awk -v a="$(column plain objective | tr '\n' ' ')" -v b="$(column equal objective | tr '\n' ' ')" 'BEGIN { n = split(a, p); split(b, q); for (i = 1; i <= n; i++) { d = p[i] / q[i] - 1; if (d > 2e-6 || d < -2e-6) exit 1 } exit !(n == 3 && p[1] != p[3]) }'
"$spmc" train shares.spm $both --out again --threads 3 >/dev/null
check 'balanced, one and three threads: the same bytes' cmp shares/model.safetensors again/model.safetensors
# A run goes on with the data that it was made on, wherever they lie.
gzip -c labels.idx >same.gz && { head -c 8 labels.idx; yes '\000\001\000\000\000' | head -n 400 | tr -d '\n' | xargs -0 printf; } >swapped.idx
again="--data x=train.idx --epochs 4 --seed 5 --threads 1 --plain --out plain --resume"
expect 'resumed with other labels' 1 'other data for `y`: then 2000 of u8, and swapped.idx is 2000 of u8 of other values' "$spmc" train plain.spm --data y=swapped.idx $again
expect 'resumed with the same labels from elsewhere' 0 'resumed after epoch 3' "$spmc" train plain.spm --data y=same.gz $again
expect 'resumed with other validation rows' 1 'other validation data for `x`: then 300 x 28 x 28' "$spmc" train unjudged.spm $options --valid x=train.idx --epochs 3 --out unjudged --resume
"$spmc" train plain.spm --data y=labels.idx --data x=train.idx --seed 5 --epochs 1 --out old >/dev/null
# Of a version that did not note what it was made on: blanks keep the header as long as it was.
sed -i 's/,"data y":"[^"]*"/,"unknown":"000000000000000000000000000"/' old/checkpoints/last.safetensors
expect 'a checkpoint that does not say' 0 'resumed after epoch 1' "$spmc" train plain.spm --data y=swapped.idx --data x=train.idx --epochs 2 --seed 5 --out old --resume

chosen none.spm "train { rows = sum(x) < 0; }"
expect 'no row is taken' 1 'takes none of the 2000 training rows' "$spmc" train none.spm $both --out none
chosen whole.spm "train first { balance = sum(x) >= 0; } train second { batch = 10; }"
expect 'nothing to balance' 1 '.balance. of first has nothing to balance: it is true on each' "$spmc" train whole.spm $both --out nothing

# Gathered data: each datum has distinct rows of the file, the same ones wherever it is asked for.
cat >draws.spm <<END
model draws;
data   V : real[3] gathered;
latent z : real[3];
posterior z = V;
metric total = sum(V);
metric low = -sum(V < 30);
param centre : real[3] init 0;
minimize sum((z - centre)^2);
train { valid = 10;  batch = 8;  epochs = 4;  keep = best; }
END
# 40 rows, of one number each, 0 to 39: as unsigned bytes in an IDX file.
{ printf '\000\000\010\001\000\000\000\050'; i=0; while [ $i -lt 40 ]; do printf "\\$(printf %o $i)"; i=$((i + 1)); done; } >numbers.idx
expect 'gathered data' 0 'validation rows = 10' "$spmc" train draws.spm --data V=numbers.idx --seed 3 --threads 1 --plain --out draws
"$spmc" train draws.spm --data V=numbers.idx --seed 3 --threads 3 --out draws3 >/dev/null
check 'the best objective' test "$(grep -c '^kept epoch .*, where objective of the validation rows' out)" = 1
check 'gathered, one and three threads: the same bytes' cmp draws/model.safetensors draws3/model.safetensors
cat >shapes.spm <<END
model shapes;
dim R;
dim C;
data  V : unit[2, R, C] gathered;
param w : unit[R, C];
minimize sum((V - expand(w, 2))^2);
END
expect 'dims of gathered data are read off the file' 0 '784 parameters' "$spmc" train shapes.spm --data V=train.idx --epochs 1 --out shapes
"$spmc" encode draws --data V=numbers.idx --out codes >/dev/null && "$spmc" encode draws3 --data V=numbers.idx --out codes3 >/dev/null
check 'the same games at every evaluation' cmp codes/z.npy codes3/z.npy
od -A n -v -t f4 -w12 -j 128 codes/z.npy >games
check 'distinct rows of the file' awk '{ if ($1 == $2 || $1 == $3 || $2 == $3 || $1 < 0 || $1 > 39) bad = 1; sum += $1 + $2 + $3 } END { exit !(NR == 40 && !bad && sum / 120 > 16 && sum / 120 < 23) }' games
check 'each game is another' test "$(sort -u games | wc -l)" -gt 35
check 'training draws afresh in each epoch' test "$(column draws total | sort -u | wc -l)" = 4
check 'from the rows that are trained on' test "$(column draws low | sort -u)" = -3
check 'validation from the rows held back, the same each time' test "$(column draws valid.low | sort -u | tr -d -)" = 0 -a "$(column draws valid.total | sort -u | wc -l)" = 1
sed -i 's/real\[3\]/real[50]/' draws.spm
expect 'too few rows to draw from' 1 'each datum has 50 distinct rows of V, and there are 30 to draw from' "$spmc" train draws.spm --data V=numbers.idx --out few

# V[y]: what a category names.
cat >picked.spm <<END
model picked;
data  y : category(2);
param table : real[2, 3] init normal(0, 1);
let   row = table[y];
metric same = sum(abs(row - (index(y) == 1 ? table[1] : table[0])));
minimize sum((row - 1)^2);
train { epochs = 1; }
END
expect 'what a category names' 0 'same *0$' "$spmc" train picked.spm --data y=labels.idx --test y=labels.idx --out picked
