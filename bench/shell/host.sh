#!/bin/bash
# The part of network.sh that runs on each host, as root. It says what it
# changes.
set -eu -o pipefail

datapath=$1 mtu=$2 priority=$3 address=$4 range=$5
shift 5

# One transaction: the tree is on before the switch has a tunnel.
transaction=(
	--may-exist add-br br0
	-- set bridge br0 "datapath_type=$datapath" rstp_enable=true "other_config:rstp-priority=$priority"
	-- set interface br0 "mtu_request=$mtu"
)
declare -A stale
for port in $(ovs-vsctl list-ports br0 2>/dev/null); do
	stale[$port]=1
done
for peer in "$@"; do
	port=vx-${peer%%=*}
	[ -n "${stale[$port]-}" ] || echo "adds $port"
	unset "stale[$port]"
	transaction+=(
		-- --may-exist add-port br0 "$port"
		-- set interface "$port" type=vxlan "options:remote_ip=${peer#*=}" options:key=1
		bfd:enable=true bfd:min_rx=100 bfd:min_tx=100
	)
done
for port in "${!stale[@]}"; do
	echo "removes $port"
	transaction+=(-- del-port br0 "$port")
done
ovs-vsctl "${transaction[@]}"

# install_file FILE writes what is on stdin if FILE holds something else. It
# fails if there was nothing to write.
install_file() {
	local content
	content=$(cat)
	[ "$content" != "$(cat "$1" 2>/dev/null)" ] || return 1
	echo "writes $1"
	printf '%s\n' "$content" >"$1.new"
	mv "$1.new" "$1"
}

if install_file /etc/systemd/system/container-bridge.service <<-END; then
	[Unit]
	Description=The bridge that containers are on, with the switch as its member
	Wants=openvswitch-switch.service
	After=openvswitch-switch.service
	Before=docker.service

	[Service]
	Type=oneshot
	RemainAfterExit=yes
	ExecStart=-/usr/sbin/ip link add docker0 type bridge
	ExecStart=/usr/sbin/ip -4 address flush dev docker0
	ExecStart=/usr/sbin/ip address add $address dev docker0
	ExecStart=/usr/sbin/ip link set docker0 mtu $mtu up
	ExecStart=/usr/sbin/ip link set br0 master docker0 up

	[Install]
	WantedBy=multi-user.target docker.service
END
	systemctl daemon-reload
	systemctl --quiet enable container-bridge
	systemctl restart container-bridge
fi

merged=$(python3 -IS - "$address" "$range" "$mtu" <<'END'
import json, sys

try:
    with open("/etc/docker/daemon.json") as file:
        config = json.load(file)
except FileNotFoundError:
    config = {}
config |= {"bip": sys.argv[1], "fixed-cidr": sys.argv[2], "mtu": int(sys.argv[3])}
print(json.dumps(config, indent=4))
END
)
if install_file /etc/docker/daemon.json <<<"$merged"; then
	systemctl restart docker
fi
