#!/bin/sh
# Test programs (Criterion, or plain programs that exit 0) and test scripts (lines "ok NAME" / "not ok NAME") -> what
# they say, one line a suite as it ends, and one closing summary. Exits 1 if anything failed. As many suites run at once
# as there are processors, scripts first, since some take long. Arguments: the programs and scripts; SPM_JOBS: how many
# at once.
logs=${SPM_BUILD:-build}/tests/logs

# One suite: its log in NAME.log, what came of it in NAME.result: good, bad, skipped.
if [ "$1" = --one ]; then
  suite=$2
  name=$(basename "$suite" .sh)
  log=$logs/$name.log
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
  echo "$good $bad $skips" >"$logs/$name.result"
  if [ $bad -gt 0 ]; then
    [ $status -eq 124 ] && echo "(ran for more than 20 minutes and was stopped)" >>"$log"
    printf '%-28s %4d passed, %d FAILED (exit status %d, %d s)\n' "$name" "$good" "$bad" "$status" "$seconds"
  else
    printf '%-28s %4d passed (%d s)\n' "$name" "$good" "$seconds"
  fi
  exit 0
fi

mkdir -p "$logs"
rm -f "$logs"/*.result
{
  for suite in "$@"; do case $suite in *.sh) echo "$suite" ;; esac; done
  for suite in "$@"; do case $suite in *.sh) ;; *) echo "$suite" ;; esac; done
} | SPM_BUILD=${SPM_BUILD:-build} xargs -P "${SPM_JOBS:-$(nproc)}" -I SUITE sh "$0" --one SUITE

suites=0 passed=0 failed=0 skipped=0 broken=
for suite in "$@"; do
  name=$(basename "$suite" .sh)
  suites=$((suites + 1))
  good=0 bad=1 skips=0
  [ -r "$logs/$name.result" ] && read -r good bad skips <"$logs/$name.result"
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skips))
  grep '^skip ' "$logs/$name.log" 2>/dev/null | sed "s/^/    $name: /"
  [ "$bad" -eq 0 ] && continue
  broken="$broken $name"
  echo "---- $name"
  tail -n 200 "$logs/$name.log" | sed 's/^/    /'
done

echo
[ -n "$broken" ] && echo "failed:$broken"
echo "$suites suites, $((passed + failed)) tests, $failed failed"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$suites" -gt 0 ]
