#!/bin/sh
# The grid: every way to infer a latent x every kind of prior x every kind of decoder, and the sum of entropies x the
# forms that have one, each a spec of its own that is checked, diagnosed and trained for three steps, or refused by a
# named error. Prints a table of the largest error of a gradient against differences; exits with 1 where a cell is
# neither. From the repository: make build/spmc && sh examples/papers/grid/run.sh
spmc=${SPMC:-build/spmc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Sixteen pictures of 8 x 8 pixels: the bytes of this file.
{ printf '\0\0\10\3\0\0\0\20\0\0\0\10\0\0\0\10'; head -c 1024 "$0"; } >"$work/x.idx"

inference() {
  case $1 in
  langevin) echo 'infer z by langevin(steps = 3, step_size = 0.05);' ;;
  map) echo 'infer z by map(steps = 3, step_size = 0.01);' ;;
  ista) echo 'infer z by ista(steps = 3, step_size = 0.05);' ;;
  local) echo 'local m : real[K] init normal(0, 0.1);  local s : positive[K] init 0.5;  posterior z ~ normal(m, s);' ;;
  esac
}

prior() {
  case $1 in
  laplace) echo 'latent z : real[K];  prior z ~ laplace(0, 1);' ;;
  mixture) echo 'latent z : real[K];  prior z ~ mixture(0.1: normal(0, 1), 0.9: normal(0, 0.1));' ;;
  exponential) echo 'latent z : nonnegative[K];  prior z ~ exponential(rate = 1);' ;;
  own) echo 'latent z : real[K];  prior z ~ own(0.5);
distribution own(v : real; tau : positive) { log_pdf = -2 * log1p((v / tau)^2) - log(0.5 * pi * tau); }' ;;
  esac
}

decoder() {
  case $1 in
  linear) echo 'data x : unit[64];  param W : real[64, K] init normal(0, 0.3);
likelihood x ~ normal(W @ z, 0.3);' ;;
  two-layer) echo 'data x : unit[64];  decoder g(z) { mean = sigmoid(dense(relu(dense(z, 10)), 64)); }
likelihood x ~ normal(g.mean, 0.3);' ;;
  convolution) echo 'data x : unit[1, 8, 8];
decoder g(z) {
  h    = relu(reshape(dense(z, 3 * 4 * 4), [3, 4, 4]));
  mean = sigmoid(conv2d_transpose(h, 1, kernel = 4, stride = 2, padding = 1));
}
likelihood x ~ normal(g.mean, 0.3);' ;;
  esac
}

# The error that a cell is refused by, or nothing.
refused_by() {
  case $1/$2 in
  ista/mixture | ista/own) echo no-prox ;;
  local/exponential) echo support ;;
  esac
}

# What becomes of a cell: "2e-08" (the worst error of a gradient), "refused: no-prox", or what went wrong.
try() { # SPEC ROWS
  spec=$work/cell.spm
  { echo "model cell;  dim K = 5;  $1"; echo "train { batch = $2;  steps = 3; }"; } >"$spec"
  if ! "$spmc" diagnose "$spec" --seed 1 --elements 4 >"$work/diagnosis" 2>&1; then
    code=$(sed -n 's/.*error\[\([a-z-]*\)\].*/\1/p' "$work/diagnosis" | sort -u | tr '\n' ' ')
    echo "refused: ${code:-no error named }"
  elif ! "$spmc" train "$spec" --data "x=$work/x.idx" --out "$work/run" --force --seed 1 --threads 1 -q >"$work/out" 2>&1; then
    echo 'fails in training'
  elif [ "$(tail -n 1 "$work/run/metrics.csv" | cut -d , -f 2)" != 3 ]; then
    echo 'does not take three steps'
  else
    sed -n 's/.*worst error \([^;]*\);.*/\1/p' "$work/diagnosis"
  fi
}

status=0
cell() { # FOUND REFUSED_BY
  case ${2:+refused: $2}/$1 in
  "refused: $2/refused: $2 " | /[0-9]*e-*) printf '%-22s' "$1" ;;
  *) status=1; printf '%-22s' "$1 (!)" ;;
  esac
}

for inference in langevin map ista local; do
  printf '%-14s%-22s%-22s%s\n' "$inference" linear two-layer convolution
  for prior in laplace mixture exponential own; do
    printf '  %-12s' $prior
    for decoder in linear two-layer convolution; do
      found=$(try "allow kl_monte_carlo;  $(prior $prior)  $(decoder $decoder)  $(inference $inference)" 4)
      cell "$found" "$(refused_by $inference $prior)"
    done
    echo
  done
done

# The sum of entropies, where the model has the form that it needs: what the prior is x what the mean is.
entropy_prior() {
  case $1 in
  cauchy) echo 'prior z ~ cauchy(0, 1);' ;;
  *) echo "param scale : positive[K] solved;  prior z ~ $1(0, scale);" ;;
  esac
}

entropy_mean() {
  case $1 in
  'W @ z' | 'W @ z + b') echo "likelihood x ~ normal($1, noise);" ;;
  'two latents') echo 'latent u : real[3];  param V : real[64, 3] init normal(0, 0.3);  param wide : positive solved;
local mu : real[3] init 0;  local T : lower_triangular[3, 3] init identity(3);
posterior u ~ normal(mu, cholesky = T);  prior u ~ normal(0, wide);  likelihood x ~ normal(W @ z + V @ u, noise);' ;;
  'W @ relu(z)') echo 'likelihood x ~ normal(W @ relu(z), noise);' ;;
  esac
}

printf '%-14s%-22s%-22s%-22s%s\n' entropy_elbo 'W @ z' 'W @ z + b' 'two latents' 'W @ relu(z)'
for prior in laplace normal cauchy; do
  printf '  %-12s' $prior
  for mean in 'W @ z' 'W @ z + b' 'two latents' 'W @ relu(z)'; do
    case $prior/$mean in cauchy/* | */'W @ relu(z)') refused=closed-form ;; *) refused= ;; esac
    found=$(try "data x : unit[64];  latent z : real[K];  param W : real[64, K] init normal(0, 0.3);
param b : real[64] init 0.1;  param noise : positive solved;  $(entropy_prior $prior)
local m : real[K] init normal(0, 0.1);  local s : positive[K] init 0.5;  posterior z ~ normal(m, s);
$(entropy_mean "$mean")  objective entropy_elbo;" 16)
    cell "$found" "$refused"
  done
  echo
done
exit $status
