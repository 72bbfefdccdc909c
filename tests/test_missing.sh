# Data with missing values through the real program: files of every format, any number of threads, codes and
# reconstructions, metrics over the rows that have a value, no file at all. Lines "ok NAME" / "not ok NAME".
. "$(dirname "$0")/checks.sh"
floats() { # floats FILE.npy: one a line
  tail -c +129 "$1" | od -A n -v -t f4 | tr -s ' ' '\n' | sed '/^$/d'
}

# Rows of six numbers around one of three centres; every fourth has its label.
awk 'BEGIN { srand(3); for (i = 0; i < 400; i++) { y = i * 7 % 3; line = ""
  for (d = 0; d < 6; d++) line = line (d ? "," : "") sprintf("%.4f", (d % 3 == y) * 2 + rand() - 0.5)
  print line; print i % 4 == 0 ? y : "" >"labels.csv"; print y >"all.csv" } }' >x.csv
awk 'NR % 5 == 2 { sub(/,[^,]*$/, ",") } NR % 7 == 3 { sub(/^[^,]*/, "NaN") } { print }' x.csv >gaps.csv
{ printf '\000\000\011\001\000\000\001\220'; awk '{ printf "\\%03o", $1 == "" ? 255 : $1 }' labels.csv >codes; printf "$(cat codes)"; } >labels.idx

cat >partly.spm <<'END'
model partly;
data   x : real[6];
data   y : category(3) missing_ok;
latent h : real[2];
prior y ~ categorical(prob = 1 / 3);
prior h ~ normal(0, 1);
network class(x) { scores = dense(tanh(dense(x, 8)), 3); }
encoder q(x, y)  { mu = dense(tanh(dense(concat(x, y), 8)), 2); }
posterior y ~ sparsemax(class.scores);
posterior h ~ normal(q.mu, 0.5);
decoder p(h, y)  { mean = dense(tanh(dense(concat(h, y), 8)), 6); }
likelihood x ~ normal(p.mean, 0.3);
objective elbo - (observed(y) ? sparsemax_loss(class.scores, y) : 0);
metric accuracy     = argmax(class.scores) == index(y);
metric decoder_rows = support_size(y);
train warm { rows = observed(y);  batch = 20;  epochs = 20;  optimizer = adam(lr = 1e-2); }
train main { balance = observed(y);  batch = 40;  epochs = 10;  optimizer = adam(lr = 1e-2); }
evaluate { hide = y; }
END
options='--seed 5 --plain -q --force'
expect 'labels in CSV, empty where there are none' 0 '' "$spmc" train partly.spm --data x=x.csv --data y=labels.csv $options --threads 1 --out one
expect 'the same labels in IDX, -1 where there are none, by three threads' 0 '' "$spmc" train partly.spm --data x=x.csv --data y=labels.idx $options --threads 3 --out three
check 'both runs go the same way' cmp one/metrics.csv three/metrics.csv # the parameters' file names its data, too

result() { sed -n "s/^  $1 *//p" out; }
expect 'all labels are hidden from inference' 0 'accuracy  *[01]' "$spmc" eval one --data x=x.csv --data y=all.csv
check 'more than nine of ten are right' awk "BEGIN { exit !($(result accuracy) > 0.9) }"
elbo=$(result elbo)
expect 'and what they are makes no difference' 0 "elbo  *$elbo" "$spmc" eval one --data x=x.csv
check 'no label, no accuracy' grep -q 'all of it is missing' out
check 'which is not a number then' grep -q 'accuracy  *nan' out
head -n 100 all.csv >first.csv
head -n 100 x.csv >x100.csv
"$spmc" eval one --data x=x100.csv --data y=first.csv >out 2>&1
accuracy=$(result accuracy)
awk 'NR <= 100 { print } NR > 100 { print "" }' all.csv >only_first.csv
expect 'accuracy is that of the rows with a label' 0 "accuracy  *$accuracy\$" "$spmc" eval one --data x=x.csv --data y=only_first.csv
expect 'in JSON, too' 0 '"accuracy": null' "$spmc" eval one --data x=x.csv --json

expect 'codes' 0 '' "$spmc" encode one --data x=x.csv --data y=labels.csv --out codes_partly
expect 'codes without any label' 0 '' "$spmc" encode one --data x=x.csv --out codes_none
floats codes_partly/y.npy | paste - - - | paste - labels.csv >seen
check 'an observed class is its own code' awk 'NF == 4 && $($4 + 1) != 1 { bad = 1 } NF == 4 { n++ } $1 + $2 + $3 < 0.999 { bad = 1 } END { exit bad || n != 100 }' seen
floats codes_none/y.npy | paste - - - | paste - seen >both
check 'other codes are those without labels' awk 'NF == 6 && ($1 != $4 || $2 != $5 || $3 != $6) { bad = 1 } END { exit bad }' both
check 'codes under it are numbers' awk '!($1 == $1 + 0) || $1 ~ /nan/ { bad = 1 } END { exit bad || NR != 800 }' <<END
$(floats codes_partly/h.npy)
END
expect 'reconstructions' 0 '' "$spmc" reconstruct one --data x=x.csv --data y=labels.csv --out back

cat >gaps.spm <<'END'
model gaps;
data   x : real[6] missing_ok;
latent z : real[2];
let    seen = observed(x) ? x : 0;
encoder q(seen) { h = tanh(dense(concat(seen, observed(x)), 8));  mu = dense(h, 2);  sd = exp(dense(h, 2)); }
prior      z ~ normal(0, 1);
posterior  z ~ normal(q.mu, q.sd);
likelihood x ~ normal(dense(z, 6), 0.5);
objective elbo;
metric whole = sum(abs(x)) > 0;
metric missing = sum(1 - observed(x));
train { batch = 50;  epochs = 3; }
END
sed 's/real\[6\] missing_ok/real[6]/; s/observed(x) ? x : 0/x/; s/observed(x)/ones(6)/g' gaps.spm >none.spm
expect 'missing numbers' 0 '' "$spmc" train gaps.spm --data x=gaps.csv $options --threads 1 --out gaps
expect 'the same by three threads' 0 '' "$spmc" train gaps.spm --data x=gaps.csv $options --threads 3 --out gaps_three
check 'have the same bytes' cmp gaps/model.safetensors gaps_three/model.safetensors
expect 'evaluation' 0 'missing  *0.3425$' "$spmc" eval gaps --data x=gaps.csv
check 'the ELBO is a number' grep -q 'elbo  *-[0-9]' out
expect 'reconstructions of what is missing' 0 '' "$spmc" reconstruct gaps --data x=gaps.csv --out filled
check 'are numbers' awk '/nan/ { bad = 1 } END { exit bad || NR != 2400 }' <<END
$(floats filled/x.npy)
END
expect 'nothing missing is the model that knows of none' 0 '' "$spmc" train gaps.spm --data x=x.csv $options --threads 1 --out full
"$spmc" train none.spm --data x=x.csv $options --threads 1 --out plain >out 2>&1
check 'to the last digit of the objective' cmp "$(cut -d, -f1-4 full/metrics.csv >a; echo a)" "$(cut -d, -f1-4 plain/metrics.csv >b; echo b)"

cat >subsets.spm <<'END'
model subsets;
data f : real[2];
data t : subset(2)[4] missing_ok;
likelihood t ~ conditional_bernoulli(logits = dense(f, 4), size = 2);
objective log_lik(t);
END
printf '1,2\n3,4\n' >f.csv
printf '1,1,0,0\n,,,\n' >t.csv
expect 'a subset missing as a whole' 0 '' "$spmc" train subsets.spm --data f=f.csv --data t=t.csv $options --epochs 1 --out subsets
printf '1,1,0,0\n1,,,1\n' >t.csv
expect 'a subset missing in part' 1 '1 subset of `t` are missing in part' "$spmc" train subsets.spm --data f=f.csv --data t=t.csv $options --epochs 1 --out subsets

# As a program of its own, from IDX: numbers as they stand, labels with -1.
sed '/^train/d' partly.spm >alone.spm
echo 'train { batch = 40;  epochs = 2; }' >>alone.spm
{ printf '\000\000\010\002\000\000\001\220\000\000\000\006'; awk -F, '{ for (i = 1; i <= 6; i++) printf "\\%03o", ($i + 1) * 50 }' x.csv >codes; printf "$(cat codes)"; } >x.idx
"$spmc" emit alone.spm --main -o alone.c && gcc -std=c11 -O1 -DSPM_NO_BLAS alone.c -o program -lm
objectives() { # objectives FILE of the trainer
  sed -n 's/.* objective \([-0-9.e+]*\).*/\1/p' "$1"
}
for labels in '--data y=labels.idx' ''; do
  expect "an emitted trainer with ${labels:-no file of labels}" 0 '' ./program --data x=x.idx $labels --batch 40 --epochs 2 --seed 5
  objectives out >emitted
  "$spmc" train alone.spm --data x=x.idx $labels $options --threads 1 --out spmc >log 2>&1
  sed '1s/"\([^",]*\),\([^",]*\)"/\1\2/g' spmc/metrics.csv | awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "objective") c = i; next } { print $c }' >trained
  check 'follows spmc train' awk 'NF != 2 || ($1 - $2)^2 > 1e-8 * $2^2 { bad = 1 } END { exit bad || NR != 2 }' <<END
$(paste emitted trained)
END
done
expect 'missing where nothing may be' 1 'declare x missing_ok' "$spmc" train none.spm --data x=gaps.csv $options --out bad
check 'the message names the row' grep -q 'the first one is in row 1, entry 5' out
expect 'no file for what cannot be missing' 1 'no file was given for the data `x`' "$spmc" train partly.spm --data y=labels.csv $options --out bad
expect 'no file at all' 2 'NAME=FILE is missing' "$spmc" train gaps.spm $options --out bad
