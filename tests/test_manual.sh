# The C program of the manual (specs/README.md): a host of an emitted model, compiled as the manual says, in C and C++.
. "$(dirname "$0")/checks.sh"
awk '/^```c$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$here/specs/README.md" >host.c
check 'the manual has a program in C' [ -s host.c ]
expect 'its model is emitted' 0 '' "$spmc" emit "$here/specs/laplace_vae.spm" --lib --header laplace_vae.h -o laplace_vae.c
expect 'it compiles' 0 '' gcc -std=c99 -Wall -Wextra -pedantic -Werror -O1 -DSPM_NO_BLAS host.c laplace_vae.c -lm -o host
expect 'it trains' 0 '^objective -[0-9]' ./host
expect 'and encodes' 0 '^64 numbers a row' ./host
sed 's/void \*memory = malloc(size)/void *memory = std::malloc(size)/; s/<stdio.h>/<cstdio>/; s/<stdlib.h>/<cstdlib>/; s/printf/std::printf/; s/free(/std::free(/' host.c >host.cc
if command -v g++ >/dev/null; then expect 'it is C++, too' 0 '' g++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only host.cc; else echo 'skip C++: no g++'; fi
printf 'model double;\ndata x : real[2];\nparam m : real[2];\nminimize sum((x - m)^2);\n' >double.spm
expect 'a model called like a word of C' 1 'a word of C' "$spmc" emit double.spm --lib -o double.c
expect 'which a trainer may be' 0 '' "$spmc" emit double.spm --main -o double.c
expect 'one file for both' 1 'two files' "$spmc" emit "$here/specs/laplace_vae.spm" --lib --header both.c -o both.c

# A trained run as a library: constrained parameters, running means and a schedule come out as spmc encode has them.
cat >warm.spm <<'END'
model warm;
dim D;  dim K = 3;
data   x : real[D];
latent z : real[K];
param  scale : positive[K] init 2;
schedule rise = min(1, (epoch + 1) / 8);
param  centre : real[D] init 0;
encoder q(x) { mu = rise * scale * dense(tanh(batch_norm(dense(x - centre, 4))), K); }
prior     z ~ laplace(0, 1);
posterior z ~ normal(q.mu, 0.5);
likelihood x ~ normal(dense(z, D), 1);
objective elbo;
train { optimizer = adam(lr = 1e-2);  batch = 8;  epochs = 2; }
END
for row in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo "$row.5,-$row,0.$row,2"; done >x.csv
cat >codes.c <<'END'
#include "warm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
  static float x[16 * 4], codes[16 * 3];
  const float *const data[] = {x};
  size_t size = warm_size(16, 0);
  warm *m = warm_open(malloc(size), size, 16, 0, 1);
  FILE *table = fopen("x.csv", "r"), *npy = fopen("codes/z.npy", "rb");
  long count, far = 0;
  for (int i = 0; i < 16; i++)
    if (fscanf(table, "%f,%f,%f,%f", x + 4 * i, x + 4 * i + 1, x + 4 * i + 2, x + 4 * i + 3) != 4) return 1;
  fseek(npy, -(long)sizeof codes, SEEK_END);
  if (fread(codes, sizeof codes, 1, npy) != 1) return 1;
  for (int trained = 0; trained < 2; trained++) {
    if (trained) warm_trained(m);
    warm_run(m, "encode", data, 16);
    const float *z = warm_output(m, "z", &count);
    far = 0;
    for (int i = 0; i < 16 * 3; i++) far += fabsf(z[i] - codes[i]) > 1e-5f * (1 + fabsf(codes[i]));
    printf("%s: %ld of 48 codes differ\n", trained ? "trained" : "begun", far);
  }
  return far != 0;
}
END
sed 's/init 0;/init mean(x, over = batch);/' warm.spm >centred.spm
for start in warm centred; do
  expect "$start: a run" 0 '' "$spmc" train $start.spm --data x.csv --seed 3 --quiet --force --out run
  expect "$start: its codes" 0 '' "$spmc" encode run --data x.csv --out codes
  expect "$start: it is emitted with its parameters" 0 '' "$spmc" emit run --lib --header warm.h -o warm.c
  expect "$start: with a host of its own" 0 '' gcc -std=c99 -Wall -Wextra -pedantic -Werror -O1 -DSPM_NO_BLAS codes.c warm.c -lm -o codes_host
  expect "$start: its codes are those of the run" 0 'trained: 0 of 48' ./codes_host
  expect "$start: and were not, before" 0 'begun: 48 of 48' ./codes_host
done
expect 'a trainer of a run' 1 'into a library' "$spmc" emit run --main -o none.c
expect 'a directory that is no run' 1 'not the directory of a run' "$spmc" emit . --lib -o none.c
