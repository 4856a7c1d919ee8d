//go:build privileged

package scenarios_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// theirDaemonJSON has keys that are called as the fabric's, but are others,
// and what people do to white space.
const theirDaemonJSON = "\t{ \"labels\" :[ \"mtu=9000\",\"bip=1\" ],\r\n" +
	"    \"default-network-opts\": {\"bridge\":{ \"com.docker.network.driver.mtu\":\"1400\"}}, \"builder\": {\n\n\"gc\":{\"enabled\":true}},\r\n" +
	"  \"log-opts\": {\"max-size\":\t\"10m\", \"max-file\": \"2\"}  }  \n\n"

// theirs fills a host with what fabric has no business with.
const theirs = `set -e
	ovs-vsctl set Open_vSwitch . external_ids:theirs=1 external_ids:fabric-like=x other_config:max-idle=20000
	ovs-vsctl add-br theirs -- set bridge theirs datapath_type=netdev fail_mode=secure external_ids:fabric-peer=h9 other_config:rstp-priority=61440 rstp_enable=true
	ovs-vsctl add-port theirs t1 -- set interface t1 type=internal external_ids:who=them -- set port t1 tag=7 other_config:stp-port-num=9
	ovs-vsctl add-port theirs t2 -- set interface t2 type=vxlan options:remote_ip=198.51.100.99 options:key=77 bfd:enable=true
	ovs-ofctl add-flow theirs cookie=0x7,priority=7,ip,actions=drop
	ip link set t1 up && ip address add 198.18.7.1/24 dev t1 && ip route add 198.18.8.0/24 via 198.18.7.2 && ip route add 198.18.9.0/24 via 198.18.7.2 table 77
	ip rule add from 198.18.9.1 table 77
	iptables -N THEIRS && iptables -A THEIRS -s 198.18.9.9 -j DROP && iptables -I INPUT -j THEIRS && iptables -I DOCKER-USER -s 198.18.9.9 -j DROP
	mkdir -p /etc/systemd/system/docker.service.d /etc/docker /etc/fabrics /usr/local/lib/fabrications
	printf '[Service]\nEnvironment=THEIRS=1\n' > /etc/systemd/system/docker.service.d/10-theirs.conf
	printf '[Unit]\nDescription=fabric of theirs\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' > /etc/systemd/system/fabric-theirs.service
	printf 'KERNEL=="br0", GOTO="end"\nLABEL="end"\n' > /etc/udev/rules.d/89-theirs.rules
	systemctl daemon-reload && systemctl -q enable --now fabric-theirs
	cat > /etc/docker/daemon.json
	chmod 0604 /etc/docker/daemon.json && chown ops:ops /etc/docker/daemon.json
	systemctl restart docker
	ip -6 address add fd77::1/64 dev docker0 nodad
`

// strangers is what fabric has no business with on a host, as text. dockerd
// writes its own rules anew whenever it starts: they are left out.
func (w *world) strangers(host string) string {
	w.t.Helper()
	return w.on(host, `
		ovs-vsctl --columns=_uuid,external_ids,other_config,manager_options,ssl list Open_vSwitch | sed 's/, *hostname=[^,}]*//'
		for b in theirs; do
			ovs-vsctl --columns=_uuid,name,datapath_type,fail_mode,stp_enable,rstp_enable,external_ids,other_config,ports list bridge $b
			for p in $(ovs-vsctl list-ports $b); do
				ovs-vsctl --columns=_uuid,name,tag,external_ids,other_config list port $p
				ovs-vsctl --columns=_uuid,name,type,options,bfd,external_ids,other_config,mtu_request,ofport list interface $p
			done
			ovs-ofctl --no-stats dump-flows $b
		done
		# Link-local ones come some seconds after their device, when no other has the address (RFC 4862, 5.4).
		ip route show table all | grep -v -e ' docker0 ' -e ' br0 ' -e ' fab-default ' -e ' fe80:'
		ip rule; iptables -S THEIRS; iptables -S INPUT; iptables -S DOCKER-USER
		ip -6 -o address show dev docker0 scope global
		stat -c '%n %a %U' /etc/docker/daemon.json /etc/systemd/system/docker.service.d/* | grep -v fabric
		sha256sum /etc/systemd/system/docker.service.d/10-theirs.conf /etc/systemd/system/fabric-theirs.service /etc/udev/rules.d/89-theirs.rules
		systemctl is-enabled fabric-theirs; systemctl show -p ActiveEnterTimestampMonotonic fabric-theirs
	`)
}

func (w *world) compareStrangers(want map[string]string) {
	w.t.Helper()
	for _, h := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(strings.Split(want[h], "\n"), strings.Split(w.strangers(h), "\n")); diff != "" {
			w.t.Errorf("%s: %s", h, diff)
		}
	}
}

// TestStrangers is hosts full of what is not the fabric's, and of people who
// are not its friends.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := boot(t, "three-hosts", "test-strangers")
	hosts := []string{"h1", "h2", "h3"}
	for _, h := range hosts {
		cmd := w.lab.Sh(t.Context(), h, "sh", "-c", theirs)
		cmd.Stdin = strings.NewReader(theirDaemonJSON)
		if r := runCommand(t, cmd); r.exit != 0 {
			t.Fatalf("%s: %s", h, r.stderr)
		}
	}
	others := make(map[string]string)
	for _, h := range hosts {
		others[h] = w.strangers(h)
	}
	pristine := w.snapshots(hosts)
	step := steps(t, w)

	step("where a local user could have written nothing is read", func(t *testing.T, w *world) {
		w.on("h1", "mkdir -m 777 /var/lib/fabric && mkfifo /var/lib/fabric/journal.json /var/lib/fabric/daemon.json.orig")
		w.on("h2", "mkdir /tmp/evil && ln -s /tmp/evil /usr/local/lib/fabric")
		w.on("h3", "install -d -o ops /etc/fabric && echo '{}' > /etc/fabric/host.json")
		before := w.snapshots(hosts)
		for _, args := range [][]string{{"plan"}, {"apply", "--yes"}, {"destroy", "--yes"}} {
			r := w.fabric(args...)
			for _, want := range []string{
				"h1: what fabric keeps on this host cannot be trusted: /var/lib/fabric can be written by others than its owner (mode 0777): find out",
				"h2: what fabric keeps on this host cannot be trusted: /usr/local/lib/fabric is not a folder: find out",
				"h3: what fabric keeps on this host cannot be trusted: /etc/fabric belongs to the user ",
			} {
				if r.exit != 1 || !strings.Contains(r.stderr, want) {
					t.Errorf("fabric %s: exit status %d, does not say %q\n%s", args[0], r.exit, want, r.stderr)
				}
			}
		}
		w.compare(before)
		w.on("h1", "rm -r /var/lib/fabric")
		w.on("h2", "rm -r /tmp/evil /usr/local/lib/fabric")
		w.on("h3", "rm -r /etc/fabric")
		w.compare(pristine)
	})

	step("a swapped program is not run", func(t *testing.T, w *world) {
		data, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		put := w.lab.Sh(t.Context(), "h1", "sh", "-c", "install -d -o ops /usr/local/lib/fabric && cat > /usr/local/lib/fabric/fabric && chmod 755 /usr/local/lib/fabric/fabric && touch -d @0 -a /usr/local/lib/fabric/fabric")
		put.Stdin = strings.NewReader(string(data))
		if r := runCommand(t, put); r.exit != 0 {
			t.Fatal(r.stderr)
		}
		r := w.fabric("plan")
		if r.exit != 1 || !strings.Contains(r.stderr, "/usr/local/lib/fabric belongs to the user") {
			t.Errorf("exit status %d\n%s", r.exit, r.stderr)
		}
		w.on("h1", "rm -r /usr/local/lib/fabric")
		w.compare(pristine)
	})

	step("what fabric writes is root's, whatever the umask", func(t *testing.T, w *world) {
		for _, h := range hosts {
			w.on(h, `sed -i '1i umask 000' /home/ops/.bashrc && printf 'Defaults umask=0000,umask_override\n' > /etc/sudoers.d/umask`)
		}
		apply := w.start("apply", "--yes")
		apply.until("h1: stop dockerd")
		apply.signal(syscall.SIGSTOP) // nobody confirms, so the journals stay
		modes := w.on("h1", "stat -c '%n %a %U:%G' /var/lib/fabric /var/lib/fabric/journal.json /run/fabric.lock")
		if diff := cmp.Diff("/var/lib/fabric 700 root:root\n/var/lib/fabric/journal.json 600 root:root\n/run/fabric.lock 600 root:root", modes); diff != "" {
			t.Error(diff)
		}
		apply.signal(syscall.SIGCONT)
		if r := apply.wait(); r.exit != 0 {
			t.Fatalf("exit status %d\n%s", r.exit, r.stderr)
		}
		for _, h := range hosts {
			open := w.on(h, `find /var/lib/fabric /etc/fabric /usr/local/lib/fabric /run/fabric.lock /etc/systemd/system/fabric-re* \
				/etc/systemd/system/docker.service.d /etc/udev/rules.d/90-fabric.rules \( -not -user root -o -perm /022 \) -not -type l; find /var/tmp /tmp /dev/shm -name 'fabric*'`)
			if open != "" {
				t.Errorf("%s: open to others: %s", h, open)
			}
			if mode := w.on(h, "stat -c %a /var/lib/fabric/daemon.json.orig"); mode != "600" {
				t.Errorf("%s: the copy of daemon.json has mode %s", h, mode)
			}
			w.on(h, `sed -i 1d /home/ops/.bashrc && rm /etc/sudoers.d/umask`)
		}
	})

	step("an apply leaves what is others' as it is", func(t *testing.T, w *world) {
		w.compareStrangers(others)
		got := w.on("h1", "cat /etc/docker/daemon.json")
		for _, want := range []string{
			"{ \"labels\" :[ \"mtu=9000\",\"bip=1\" ],\r\n", "{\"bridge\":{ \"com.docker.network.driver.mtu\":\"1400\"}}, \"builder\": {\n\n\"gc\":{\"enabled\":true}}",
			"\"log-opts\": {\"max-size\":\t\"10m\", \"max-file\": \"2\"}",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("daemon.json lost %q:\n%q", want, got)
			}
		}
	})

	// What others may put on what is the fabric's.
	const guests = `
		ovs-vsctl set bridge br0 external_ids:theirs=1 other_config:mac-aging-time=77 mcast_snooping_enable=true
		ovs-vsctl add-port br0 guest -- set interface guest type=internal external_ids:fabric-peer=h9 -- set port guest external_ids:theirs=1 other_config:theirs=1
		ovs-ofctl add-flow br0 cookie=0x7,priority=7,udp,tp_dst=7,actions=drop
		ip address add 198.18.70.1/24 dev docker0`
	const guestsLook = `
		ovs-vsctl --columns=_uuid,mcast_snooping_enable list bridge br0
		ovs-vsctl get bridge br0 external_ids:theirs other_config:mac-aging-time
		ovs-vsctl --columns=_uuid,name,external_ids,other_config list port guest
		ovs-vsctl --columns=_uuid,name,type,external_ids,ofport list interface guest
		ovs-ofctl --no-stats dump-flows br0
		ip -4 -o address show dev docker0 | grep -c 198.18.70.1/24`

	step("changes leave what others put on the fabric's bridges", func(t *testing.T, w *world) {
		looked := make(map[string]string)
		for _, h := range hosts {
			w.on(h, "set -e;"+guests)
			looked[h] = w.on(h, guestsLook)
		}
		same := func(after string) {
			t.Helper()
			w.compareStrangers(others)
			for _, h := range hosts {
				if diff := cmp.Diff(looked[h], w.on(h, guestsLook)); diff != "" {
					t.Errorf("%s, after %s: %s", h, after, diff)
				}
			}
		}
		w.write(strings.Replace(w.read(), "hosts:", "tunnel: {type: geneve}\nhosts:", 1))
		w.must("apply", "--yes")
		same("another tunnel type")
		w.write(strings.Replace(w.read(), "tunnel: {type: geneve}", "tunnel: {type: gre}\ntree: {root: h3, backup: h2}", 1))
		w.must("apply", "--yes")
		same("another root and MTU")
	})

	step("a host that goes is not torn down under a guest, and then only of the fabric", func(t *testing.T, w *world) {
		all := w.read()
		w.write(strings.Replace(all, "  h1: {address: 192.0.2.11}\n", "", 1))
		before := w.snapshot("h1")
		if r := w.fabric("apply", "--yes"); r.exit != 1 || !strings.Contains(r.stderr, "guest") {
			t.Errorf("exit status %d\n%s", r.exit, r.stderr)
		}
		w.compare(map[string]string{"h1": before})
		w.on("h1", "ovs-vsctl del-port guest")
		w.must("apply", "--yes")
		if left := w.try("h1", "ip -4 -o address show dev docker0 | grep 198.18.70.1/24 && ip address del 198.18.70.1/24 dev docker0"); left.exit != 0 {
			t.Error("the address that somebody added to docker0 is gone")
		}
		w.compareStrangers(map[string]string{"h1": others["h1"]})
		w.compare(map[string]string{"h1": pristine["h1"]})
		w.write(all)
		w.must("apply", "--yes")
		w.compareStrangers(others)
	})

	step("destroy leaves the hosts as they were", func(t *testing.T, w *world) {
		for _, h := range []string{"h2", "h3"} {
			w.on(h, "ovs-vsctl del-port guest; ip address del 198.18.70.1/24 dev docker0")
		}
		w.must("destroy", "--yes")
		w.compareStrangers(others)
		w.compare(pristine)
	})
}
