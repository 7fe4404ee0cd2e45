#!/bin/sh
# Run by root of fresh namespaces: makes what programs expect of a system in the file tree of the image, and runs a
# command in it.
#
#   enter.sh TREE OUTPUT COMMAND...
set -eu
tree=$1 output=$2
shift 2
mount -t proc proc "$tree/proc"
mount -t tmpfs -o mode=755 dev "$tree/dev"
for name in null zero full random urandom; do
  : >"$tree/dev/$name"
  mount --bind "/dev/$name" "$tree/dev/$name"
done
ln -s /proc/self/fd "$tree/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%:*}" "$tree/dev/${stream#*:}"; done
mkdir "$tree/dev/shm" "$tree/dev/output"
mount --bind "$output" "$tree/dev/output"
mount -t tmpfs -o mode=755 run "$tree/run"
exec chroot "$tree" "$@"
