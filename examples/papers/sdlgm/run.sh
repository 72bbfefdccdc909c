#!/bin/sh
# SDLGM (the latent degree of sparsity) beside its relatives: trains the models of the table in README.md and prints
# their test values. run.sh WHAT [DIRECTORY], WHAT one of pictures, patches, bibtex, yeast, many_tags, or all. SPMC,
# EPOCHS (of pictures, patches and many_tags) and PYTHON (with numpy) may be set; FASHION is the directory of
# Fashion-MNIST's four .gz files, DATA that of bibtex.npz, yeast.npz and natural_images_whitened.npy.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
what=${1:-all}
out=${2:-$root/build/sdlgm}
spmc=${SPMC:-$root/build/spmc}
fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
data=${DATA:-$root/data}
epochs=${EPOCHS:-4}
mkdir -p "$out"

run() { # run NAME SPEC OPTION...: the test values of a run
  name=$1 spec=$2
  shift 2
  "$spmc" train "$spec" "$@" --seed 1 --threads 1 --plain --force --out "$out/$name" >"$out/$name.log"
  echo "== $name"
  sed -n '/^test/,$p' "$out/$name.log"
}

pictures() {
  for model in pictures pictures_k pictures_vsc; do
    run $model "$here/$model.spm" --epochs "$epochs" --data "x=$fashion/train-images-idx3-ubyte.gz" \
      --test "x=$fashion/t10k-images-idx3-ubyte.gz"
  done
  "$spmc" encode "$out/pictures" --data "x=$fashion/t10k-images-idx3-ubyte.gz" --out "$out/pictures/codes" -q
  "${PYTHON:-python3}" "$here/counts.py" "$fashion/t10k-labels-idx1-ubyte.gz" "$out/pictures/codes"
}

patches() {
  make -C "$root" build/examples/cut_patches >/dev/null
  "$root/build/examples/cut_patches" "$data/natural_images_whitened.npy" "$out/patches.npy" 60000 16 1
  "$root/build/examples/cut_patches" "$data/natural_images_whitened.npy" "$out/patches_test.npy" 10000 16 2
  for model in patches patches_k patches_vsc; do
    run $model "$here/$model.spm" --epochs "$epochs" --data "x=$out/patches.npy" --test "x=$out/patches_test.npy"
  done
}

tags() { # tags SET EPOCHS VALUE...: SET.npz holds X_train, Y_train, X_test, Y_test; values for the linear SDLGM alone
  set_name=$1 file=$data/$1.npz passes=$2
  shift 2
  for model in logistic linear; do
    [ $model = linear ] || values=
    [ $model = logistic ] || values=$*
    run "${set_name}_$model" "$here/tags_$model.spm" spread=0.6 $values --epochs "$passes" \
      --data "features=$file:X_train" --data "tags=$file:Y_train" --test "features=$file:X_test" --test "tags=$file:Y_test"
  done
}
bibtex() { tags bibtex 15; }
yeast() { tags yeast 60 L=14; }

many_tags() {
  make -C "$root" build/examples/papers/sdlgm/make_tags >/dev/null
  make="$root/build/examples/papers/sdlgm/make_tags"
  "$make" "$out/features.npy" "$out/tags.npy" 12000 4000 256 1 1
  "$make" "$out/features_test.npy" "$out/tags_test.npy" 2000 4000 256 1 2
  for model in logistic linear; do
    run "many_$model" "$here/tags_${model}_many.spm" spread=3 ${EPOCHS:+--epochs $EPOCHS} --data "features=$out/features.npy" \
      --data "tags=$out/tags.npy" --test "features=$out/features_test.npy" --test "tags=$out/tags_test.npy"
  done
}

case $what in
all) for one in pictures patches bibtex yeast many_tags; do $one; done ;;
pictures | patches | bibtex | yeast | many_tags) $what ;;
*) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
