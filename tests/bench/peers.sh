#!/bin/sh
# Our training step beside PyTorch's and JAX's (peers.py). Looks for a Python that has them: the system's, then one in a
# virtual environment under the build directory, into which it puts JAX if PyPI can be reached (PyTorch is too large for
# that). What is missing is said, and is no failure. SPM_PEERS=none: no peers; SPM_PEERS=found: install nothing.
build=$(dirname "${SPMC:-build/spmc}")
here=$(dirname "$0")
step=$build/tests/bench/bench_step
environment=$build/bench_venv

[ "$SPM_PEERS" = none ] && exit 0
if ! command -v python3 >/dev/null; then
  echo 'peers: no python3 (Debian: apt-get install python3 python3-venv); going on without'
  exit 0
fi

# find MODULE: prints the first interpreter that has it
find_python() {
  for python in /usr/bin/python3 "$(command -v python3)" "$environment/bin/python"; do
    [ -x "$python" ] && "$python" -c "import $1" 2>/dev/null && { echo "$python"; return 0; }
  done
  return 1
}

# install PACKAGE: into the environment, quietly; fails where there is no network
install() {
  [ "$SPM_PEERS" = found ] && return 1
  echo "peers: fetching $1 into $environment"
  [ -x "$environment/bin/pip" ] || python3 -m venv "$environment" >"$build/peers.log" 2>&1 || return 1
  timeout 600 "$environment/bin/pip" install --quiet --retries 1 --timeout 15 "$1" >"$build/peers.log" 2>&1
}

peers=
if python=$(find_python torch); then peers="$peers torch=$python"; else
  echo "peers: no PyTorch (Debian: apt-get install python3-torch; or python3 -m venv $environment &&"
  echo "  $environment/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu)"
fi
if python=$(find_python jax) || { install jax && python=$(find_python jax); }; then peers="$peers jax=$python"; else
  echo "peers: no JAX (python3 -m venv $environment && $environment/bin/pip install jax)"
fi
[ -z "$peers" ] && exit 0

python3 "$here/peers.py" "$step" $peers || echo 'peers: the comparison could not be finished'
exit 0
