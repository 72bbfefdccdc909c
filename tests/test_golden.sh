#!/bin/sh
# What leaves the middle stages for small specs, against tests/golden/NAME.STAGE. SPM_GOLDEN=write rewrites them
# (`make golden`); read the difference before committing it.
set -u
cd "$(dirname "$0")/golden" || exit 1
failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# compare EXPECTED: what was found in $work/found against the file, or into it.
compare() {
  if [ "${SPM_GOLDEN:-}" = write ]; then cp "$work/found" "$1"; fi
  if [ -s "$work/found" ] && cmp -s "$work/found" "$1"; then
    echo "ok $1"
  else
    failed=$((failed + 1))
    echo "not ok $1 differs (make golden rewrites it):"
    diff "$1" "$work/found" | head -20
  fi
}

for spec in *.spm; do
  for stage in check simplify schedule c; do
    expected=${spec%.spm}.$stage
    [ "$stage" = c ] && expected=${spec%.spm}.emitted # not .c: it is no source of ours to lay out
    "$SPMC" train "$spec" --dump="$stage" >"$work/all" 2>&1
    # Of the C text, the model's own part: the contract and the mathematics above it have tests of their own.
    if [ "$stage" = c ]; then sed -n '/^\/\* ---- program train/,/^\/\* ---- program evaluate/p' "$work/all" >"$work/found"; else cp "$work/all" "$work/found"; fi
    compare "$expected"
  done
done
for spec in *.spm ../../specs/laplace_vae.spm; do
  "$SPMC" explain "$spec" >"$work/found" 2>&1
  compare "$(basename "${spec%.spm}").explain"
done
[ "$failed" -eq 0 ]
