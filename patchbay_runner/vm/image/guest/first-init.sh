#!/bin/busybox sh
# shellcheck shell=dash
# The first program of a guest: brings the disk, and starts what is on it.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
next=/sbin/init
for word in $($b cat /proc/cmdline); do
  case $word in
    init=*) next=${word#*=} ;;
  esac
done
tries=0
until [ -b /dev/vda ] || [ $tries = 50 ]; do
  $b sleep 0.1
  tries=$((tries + 1))
done
if $b mount -t ext4 -o noatime /dev/vda /root; then
  $b mount --move /dev /root/dev
  $b mount --move /proc /root/proc
  exec $b switch_root /root "$next"
fi
echo "patchbay: there is no system on the disk"
exec $b poweroff -f
