#!/bin/sh
# Run by root of a user namespace, in the file tree of the image: configures Debian's packages, makes of them a system
# that starts without systemd and writes it to a disk. fakeroot remembers which files belong to whom.
#
#   configure.sh DISK SIZE SUITE MIRROR SECURITY
set -eu
export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
mine=/usr/lib/patchbay

configure_packages() {
  # Packages start their servers, and nothing shall run here.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  mkdir -p /etc/dpkg/dpkg.cfg.d
  sed 's/^/path-exclude=/' $mine/excluded >/etc/dpkg/dpkg.cfg.d/patchbay
  dpkg --force-depends --force-unsafe-io --configure base-passwd base-files
  for script in /var/lib/dpkg/info/*.preinst; do
    package=${script##*/}
    package=${package%.preinst}
    DPKG_MAINTSCRIPT_PACKAGE=${package%:*} DPKG_MAINTSCRIPT_NAME=preinst DPKG_ROOT='' \
      DPKG_MAINTSCRIPT_ARCH=$(dpkg --print-architecture) "$script" install
  done
  dpkg --force-unsafe-io --configure -a
  rm /usr/sbin/policy-rc.d
  # shellcheck source=/dev/null
  . $mine/owners
}

make_user() {
  useradd --create-home --shell /bin/bash dev
  # No password opens it, and unlike a locked one it may be entered by key.
  usermod --password '*' dev
  echo 'dev ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/dev
  chmod 440 /etc/sudoers.d/dev
}

set_up() {
  rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
  touch /etc/machine-id
  cp $mine/sshd.conf /etc/ssh/sshd_config.d/patchbay.conf
  echo patchbay-vm >/etc/hostname
  printf '127.0.0.1\tlocalhost\n127.0.1.1\tpatchbay-vm\n::1\tlocalhost ip6-localhost\n' >/etc/hosts
  echo '/dev/vda / ext4 noatime 0 0' >/etc/fstab
  ln -sf /proc/self/mounts /etc/mtab
  rm -f /etc/resolv.conf
  : >/etc/resolv.conf
  printf 'deb %s %s main\ndeb %s %s-updates main\ndeb %s %s-security main\n' "$4" "$3" "$4" "$3" "$5" "$3" \
    >/etc/apt/sources.list
  # A package may have brought another program that starts a system.
  [ -e /usr/sbin/init ] || start_by_busybox
}

start_by_busybox() {
  cp $mine/inittab /etc/inittab
  for name in init poweroff reboot halt; do ln -sf ../bin/busybox "/usr/sbin/$name"; done
  mkdir -p /etc/acpi/PWRF
  printf '#!/bin/sh\nexec /usr/sbin/poweroff\n' >/etc/acpi/PWRF/00000080
  chmod 755 /etc/acpi/PWRF/00000080
}

write_disk() { # disk, size
  rm -rf /tmp/* /var/cache/apt/* /var/lib/apt/lists/* /var/log/*.log /var/log/apt /boot/*
  mkdir /run/root
  # What is mounted in it stays behind.
  mount --bind / /run/root
  mke2fs -q -t ext4 -L patchbay -E root_owner=0:0,lazy_itable_init=1 -J size=16 -d /run/root "$1" "$2"
}

configure_packages
for version in /usr/lib/modules/*; do depmod "${version##*/}"; done
make_user
set_up "$@"
write_disk "$@"
