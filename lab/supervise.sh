# Boots one host, and boots it again whenever it reboots, until it powers off.
# Arguments: the host's cgroups in one word, its network namespace, the
# namespace and the port of the underlay, the MAC address and the MTU of its
# NIC, overlayfs options, the mount point, and the command that boots.
set -u
cgroups=$1 netns=$2 underlay=$3 port=$4 mac=$5 mtu=$6 overlay=$7 root=$8
shift 8

# A machine's links, routes and filters do not survive its reboot, but those of
# a namespace with a name would: every boot gets a new one.
plug_in() {
	ip -n "$underlay" link delete "$port" 2>/dev/null
	ip netns delete "$netns" 2>/dev/null
	ip netns add "$netns" &&
		ip -n "$netns" link add eth0 mtu "$mtu" address "$mac" type veth \
			peer name "$port" mtu "$mtu" netns "$underlay" &&
		ip -n "$netns" link set lo up &&
		ip -n "$netns" link set eth0 up &&
		ip -n "$underlay" link set "$port" master ul up
}

# What systemd left of its tree in the last boot would keep this one out: v2
# lets no process into a cgroup whose children have controllers.
enter_cgroup() {
	while [ -d "$1" ]; do
		find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
	done
	mkdir "$1" && echo 0 >"$1/cgroup.procs"
}

boot() (
	plug_in || exit
	for cgroup in $cgroups; do
		enter_cgroup "$cgroup" || exit
	done
	# In a mount namespace of the boot's own, the root file system goes away
	# with the last process that uses it.
	exec unshare --mount --propagation slave sh -c '
		overlay=$1 root=$2
		shift 2
		mount -t overlay overlay -o "$overlay" "$root" && exec "$@"
	' boot "$overlay" "$root" "$@"
)

# systemd-nspawn(1): exit status 133 asks for another boot.
while
	boot "$@"
	[ $? -eq 133 ]
do :; done
