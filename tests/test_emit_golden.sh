#!/bin/sh
# The text of emitted models for five small specs, against tests/golden/emit/NAME.c: the functions of the programs that
# a trainer has, each file under 200 lines. What is pasted from the runtime, and the tables, have tests of their own.
# SPM_GOLDEN=write rewrites them (`make golden`); read the difference before committing it.
set -u
cd "$(dirname "$0")/golden/emit" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
for spec in *.spm; do
  name=${spec%.spm}
  "$SPMC" emit "$spec" --main -o "$work/all.c" >"$work/out" 2>&1 || cat "$work/out"
  sed -n "/^\/\* ---- program/,/^\/\* ---- the model's description/p" "$work/all.c" | sed '$d' >"$work/found"
  [ "${SPM_GOLDEN:-}" = write ] && cp "$work/found" "$name.c"
  if [ ! -s "$work/found" ] || ! cmp -s "$work/found" "$name.c"; then
    echo "not ok $name.c differs (make golden rewrites it):"
    diff "$name.c" "$work/found" | head -20
    failed=1
  elif [ "$(wc -l <"$name.c")" -ge 200 ]; then
    echo "not ok $name.c has $(wc -l <"$name.c") lines; 200 are too many to review"
    failed=1
  else echo "ok $name.c"; fi
done
# A trainer is a text to be read: all of it, for one spec, in its own dims.
most=1499
"$SPMC" emit ../../../specs/laplace_vae.spm --main -o "$work/all.c" >"$work/out" 2>&1 || cat "$work/out"
lines=$(wc -l <"$work/all.c")
if [ "$lines" -eq 0 ] || [ "$lines" -gt $most ]; then
  echo "not ok the trainer of laplace_vae has $lines lines, and not at most $most"
  failed=1
else echo "ok the trainer of laplace_vae has $lines lines, at most $most"; fi
exit $failed
