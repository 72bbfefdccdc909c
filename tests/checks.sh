# What scripts that try the real program share: an empty directory to work in ($work, removed at the
# end), $here (the top of the tree), $spmc (SPMC: the program), and checks that print "ok NAME" or "not ok NAME".
spmc=${SPMC:-build/spmc}
here=$(cd "$(dirname "$0")/.." && pwd)
case $spmc in /*) ;; *) spmc=$PWD/$spmc ;; esac
work=$(mktemp -d "/tmp/spm-$(basename "$0" .sh)-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
NO_COLOR=1; export NO_COLOR

# expect NAME CODE PATTERN COMMAND...: the exit code, and a pattern in what is printed ('' for any)
expect() {
  name=$1 code=$2 pattern=$3
  shift 3
  "$@" >out 2>&1
  got=$?
  if [ $got -eq "$code" ] && { [ -z "$pattern" ] || grep -q -e "$pattern" out; }; then
    echo "ok $name"
  else
    echo "not ok $name: exit code $got, $code wanted; looking for '$pattern' in"
    sed 's/^/    /' out
  fi
}
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok $name"; else echo "not ok $name"; fi
}
