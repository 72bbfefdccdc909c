#!/bin/sh
# Emits sensor.spm, compiles it for static memory without BLAS, trains it on the desk, and says how much code and
# memory the model takes, for this machine and, where its compiler is installed, for a Cortex-M4F. SPMC: the program.
set -e
here=$(cd "$(dirname "$0")" && pwd)
spmc=${SPMC:-$here/../../build/spmc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$spmc" emit "$here/sensor.spm" --lib --header sensor.h -o sensor.c
flags='-std=c99 -Os -DSPM_NO_BLAS -DSPM_STATIC -DSPM_BATCH_ROWS=8 -ffunction-sections -fdata-sections -I.'
gcc $flags -DON_A_DESK -Wl,--gc-sections sensor.c "$here/main.c" -o desk -lm
./desk
report() { # COMPILER NAME FLAGS...
  cc=$1 name=$2
  shift 2
  for training in 1 0; do
    $cc "$@" $flags -DSPM_TRAINING=$training -c sensor.c -o sensor.o
    ${cc%gcc}size sensor.o | awk -v n="$name, training $training" 'NR == 2 { print n ": " $1 " bytes of code and tables, " $2 + $3 " of memory" }'
  done
}
report gcc "$(uname -m)"
if command -v arm-none-eabi-gcc >/dev/null; then
  report arm-none-eabi-gcc Cortex-M4F -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16
  arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 --specs=nosys.specs $flags \
    -Wl,--gc-sections sensor.c "$here/main.c" -o device.elf -lm 2>/dev/null
  arm-none-eabi-size device.elf | awk 'NR == 2 { print "the whole device program with the C library: " $1 " bytes of code, " $2 + $3 " of memory" }'
else
  echo 'skip Cortex-M4F: arm-none-eabi-gcc is not installed'
fi
