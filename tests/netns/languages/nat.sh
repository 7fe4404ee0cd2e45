#!/bin/sh
# A home's NAT from a shell: patchbay exec -- sh nat.sh
set -eu

address_of() { patchbay ctl node "$1" | sed 's/.*"kind":"[a-z]*","ip":"\([^"]*\)".*/\1/'; }

patchbay ctl extend 'router=[{"name": "dc"}, {"name": "home", "nat": "home"}]' \
  'device={"server": {"eth0": {"gateway": "dc"}}, "laptop": {"eth0": {"gateway": "home"}}}' >/dev/null

pid=$(patchbay ctl spawn server -- tcpdump -U -l -n -i eth0 -c 1 'icmp[icmptype] == icmp-echo')
patchbay ctl wait-output "$pid" "listening on" stderr 60 >/dev/null
patchbay ctl run laptop -- ping -c 1 -W 60 server >/dev/null
seen=$(patchbay ctl wait-output "$pid" "echo request")

case $seen in
  *" $(address_of home) > $(address_of server): "*) ;;
  *) echo "the server saw: $seen" >&2; exit 1 ;;
esac
echo passed
