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
