#!/bin/sh
# Test programs (Criterion, or plain programs that exit 0) and test scripts (lines "ok NAME" / "not ok NAME") -> what
# they say, one line a suite, and one closing summary. Exits 1 if anything failed. Arguments: the programs and scripts.
suites=0 passed=0 failed=0 skipped=0 broken=
logs=${SPM_BUILD:-build}/tests/logs
mkdir -p "$logs"

for suite in "$@"; do
  name=$(basename "$suite" .sh)
  log=$logs/$name.log
  suites=$((suites + 1))
  start=$(date +%s)
  case $suite in
    *.sh) timeout 1200 sh "$suite" >"$log" 2>&1; status=$? ;;
    *) timeout 1200 "$suite" >"$log" 2>&1 </dev/null; status=$? ;;
  esac
  seconds=$(($(date +%s) - start))
  # Criterion closes with "[====] Synthesis: Tested: 9 | Passing: 9 | Failing: 0 | Crashing: 0"
  line=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep 'Synthesis: Tested:' | tail -n 1)
  skips=$(grep -c '^skip ' "$log")
  if [ -n "$line" ]; then
    good=$(echo "$line" | sed 's/.*Passing: \([0-9]*\).*/\1/')
    bad=$(echo "$line" | sed 's/.*Failing: \([0-9]*\) | Crashing: \([0-9]*\).*/\1 + \2/')
    bad=$(($bad))
  elif grep -q '^\(not \)\{0,1\}ok ' "$log"; then
    good=$(grep -c '^ok ' "$log")
    bad=$(grep -c '^not ok ' "$log")
  else
    good=0 bad=0
    [ $status -eq 0 ] && good=1
  fi
  # A program that dies between its tests, or runs none, has failed too.
  [ $status -ne 0 ] && [ $bad -eq 0 ] && bad=1
  [ $((good + bad + skips)) -eq 0 ] && bad=1
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skips))
  if [ $bad -gt 0 ]; then
    broken="$broken $name"
    sed 's/^/    /' "$log" | tail -n 200
    [ $status -eq 124 ] && echo "    (ran for more than 20 minutes and was stopped)"
    printf '%-28s %4d passed, %d FAILED (exit status %d, %d s)\n' "$name" "$good" "$bad" "$status" "$seconds"
  else
    printf '%-28s %4d passed (%d s)\n' "$name" "$good" "$seconds"
    grep '^skip ' "$log" | sed 's/^/    /'
  fi
done

echo
[ -n "$broken" ] && echo "failed:$broken"
echo "$suites suites, $((passed + failed)) tests, $failed failed"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$suites" -gt 0 ]
