#!/bin/busybox sh
# shellcheck shell=dash
# The guest's first program: makes the host's file tree, with a layer above it that takes every change, the root.
b=/bin/busybox
$b mount -t proc proc /proc
for module in /modules/*; do
  $b insmod "$module" || exec $b poweroff -f
done
for word in $($b cat /proc/cmdline); do
  case $word in
    patchbay.init=*) next=${word#*=} ;;
  esac
done
# Nobody changes the host's files under the guest's feet, so that its cache need not be asked about.
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /host &&
  $b mount -t tmpfs written /written &&
  $b mkdir /written/upper /written/work &&
  $b mount -t overlay -o lowerdir=/host,upperdir=/written/upper,workdir=/written/work root /root &&
  $b umount /proc &&
  exec $b switch_root /root /bin/bash "$next"
exec $b poweroff -f
