#!/bin/sh
# Inference x prior x decoder: each cell of the grid is diagnosed and takes three steps, or is refused by its named error.
out=$(sh examples/papers/grid/run.sh)
status=$?
case $status in
0) echo 'ok grid' ;;
*) printf '%s\n' "$out"; echo 'not ok grid' ;;
esac
exit $status
