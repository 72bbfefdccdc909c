#!/bin/sh
# What leaves the middle stages for small specs, against tests/golden/NAME.STAGE. SPM_GOLDEN=write rewrites them
# (`make golden`); read the difference before committing it.
set -u
cd "$(dirname "$0")/golden" || exit 1
failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
for spec in *.spm; do
  for stage in check simplify schedule c; do
    expected=${spec%.spm}.$stage
    [ "$stage" = c ] && expected=${spec%.spm}.emitted # not .c: it is no source of ours to lay out
    "$SPMC" train "$spec" --dump="$stage" >"$work/all" 2>&1
    # Of the C text, the model's own part: the contract and the mathematics above it have tests of their own.
    if [ "$stage" = c ]; then sed -n '/^\/\* ---- program train/,/^\/\* ---- program evaluate/p' "$work/all" >"$work/found"; else cp "$work/all" "$work/found"; fi
    if [ "${SPM_GOLDEN:-}" = write ]; then cp "$work/found" "$expected"; fi
    if [ -s "$work/found" ] && cmp -s "$work/found" "$expected"; then
      echo "ok $expected"
    else
      failed=$((failed + 1))
      echo "not ok $expected differs (make golden rewrites it):"
      diff "$expected" "$work/found" | head -20
    fi
  done
done
for spec in *.spm ../../specs/laplace_vae.spm; do
  expected=$(basename "${spec%.spm}").explain
  "$SPMC" explain "$spec" >"$work/found" 2>&1
  if [ "${SPM_GOLDEN:-}" = write ]; then cp "$work/found" "$expected"; fi
  if [ -s "$work/found" ] && cmp -s "$work/found" "$expected"; then
    echo "ok $expected"
  else
    failed=$((failed + 1))
    echo "not ok $expected differs (make golden rewrites it):"
    diff "$expected" "$work/found" | head -20
  fi
done
[ "$failed" -eq 0 ]
