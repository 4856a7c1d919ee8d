#!/bin/bash
# Makes one network for the containers of all hosts in a file, or mends it:
#
#     network.sh HOSTS
#
# HOSTS has a line for each: SSH-DESTINATION DATAPATH MTU RSTP-PRIORITY
# BRIDGE-ADDRESS RANGE PEER=ADDRESS...
set -eu -o pipefail

here=$(dirname "$0")
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

declare -A running
while read -r destination settings; do
	# shellcheck disable=SC2086 # the settings are words
	ssh -o BatchMode=yes "$destination" sudo -n bash -s -- $settings <"$here/host.sh" >"$logs/$destination" 2>&1 &
	running[$destination]=$!
done <"$1"

failed=0
for destination in "${!running[@]}"; do
	wait "${running[$destination]}" || { echo "$destination: failed" && failed=1; }
	sed "s/^/$destination: /" "$logs/$destination"
done
exit $failed
