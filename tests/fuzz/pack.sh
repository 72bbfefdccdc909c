# sh tests/fuzz/pack.sh PROGRAM OUT.tar.gz: test_fuzz with the compilers that it runs (gcc and tcc, their headers and
# libraries), so that it runs where there are none, by
#   mkdir root && tar -xzf OUT.tar.gz -C root && chroot root /test_fuzz FIRST COUNT PROCESSES
program=$1
out=$(realpath -m "$2")
root=$(mktemp -d /tmp/spm-pack-XXXXXX)
trap 'rm -rf "$root"' EXIT

put() { # files and folders, at their own places
  for path in "$@"; do
    [ -e "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -rL "$path" "$root$(dirname "$path")/" 2>/dev/null
  done
}
put_program() { # with the libraries that it loads
  put "$1"
  for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ )]*'); do put "$library"; done
}

folder=$(dirname "$(gcc -print-libgcc-file-name)")
system=$(dirname "$(realpath "$(gcc -print-file-name=libc.so)")")
for name in sh gcc as ld tcc; do put_program "$(command -v $name)"; done
for name in cc1 collect2 liblto_plugin.so; do put_program "$folder/$name"; done
put "$folder"/crtbegin*.o "$folder"/crtend*.o "$folder"/libgcc*.* "$folder"/include
for name in crt1.o crti.o crtn.o libc.so libc.so.6 libc_nonshared.a libm.so libm.so.6 libmvec.so.1 libgcc_s.so.1 tcc; do
  put "$system/$name" "/lib/${system##*/}/$name"
done
put /usr/include/*.h /usr/include/asm-generic /usr/include/linux
for name in bits sys gnu asm; do put "/usr/include/${system##*/}/$name"; done
put_program "$(realpath "$program")"
mv "$root$(realpath "$program")" "$root/test_fuzz"
[ -e "$root/bin" ] || ln -s usr/bin "$root/bin"
mkdir -p "$root/tmp" "$root/dev"
: >"$root/dev/null"
tar -C "$root" -czf "$out" . && ls -l "$out"
