#!/usr/bin/env bash
# The demo: three hosts on this machine become one network.
set -euo pipefail
fabric=$(realpath "$1")
cd "$(dirname "$0")/three-hosts"

step() { printf '\n\e[1m== %s\e[0m\n' "$*"; }
ctl() { "$fabric" lab ctl --name three-hosts -- "$@"; }
on() { "$fabric" lab sh --name three-hosts "$@"; }

step "fabric lab up: three Debian hosts with Docker and Open vSwitch"
"$fabric" lab list 2>/dev/null | grep -q '^three-hosts' || "$fabric" lab up .

step "fabric plan"
ctl "$fabric" plan
step "fabric apply --yes"
ctl "$fabric" apply --yes
step "fabric verify"
ctl "$fabric" verify

step "a container on h1 pings a container on h3 with the fabric's full MTU"
for h in h1 h3; do
	on $h sh -c 'docker image inspect busybox >/dev/null 2>&1 || docker import - busybox < /usr/share/lab/busybox.tar >/dev/null'
	on $h sh -c 'docker rm -f demo >/dev/null 2>&1; docker run -d --name demo busybox /bin/busybox sleep 1d >/dev/null'
done
address=$(on h3 docker inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' demo)
mtu=$(on h1 cat /sys/class/net/docker0/mtu)
echo "container on h3: $address, MTU $mtu: $((mtu - 28)) bytes of payload, not to be fragmented"
on h1 docker exec demo /bin/busybox ping -c 3 -s $((mtu - 28)) "$address"

step "look around"
cat <<EOF
  bin/fabric lab sh h1                                   a shell on h1
  cd scenarios/three-hosts && ../../bin/fabric lab ctl ../../bin/fabric status
                                                         the live tree
  make demo-down                                         clear up
EOF
