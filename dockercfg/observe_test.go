package dockercfg

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/plan"
)

func (h *fakeHost) observe() plan.Observation {
	h.t.Helper()
	var o plan.Observation
	q := plan.Query{Fabric: "demo", DockerBridge: "docker0", Network: netip.MustParsePrefix("172.17.0.0/16")}
	if err := h.r.Observe(h.t.Context(), q, &o); err != nil {
		h.t.Fatal(err)
	}
	h.checkLog()
	return o
}

// checkObstacles compares what was found, without the socket's folder.
func (h *fakeHost) checkObstacles(want ...string) {
	h.t.Helper()
	var got []string
	for _, obstacle := range h.observe().Obstacles {
		if obstacle.Cure == "" {
			h.t.Errorf("no cure for %q", obstacle.What)
		}
		got = append(got, strings.ReplaceAll(obstacle.What, strings.TrimSuffix(h.paths.DaemonJSON, "/daemon.json"), ""))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("obstacles (-want +got):\n%s", diff)
	}
}

func TestObserveOfAStockDocker(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.containers = []*fakeContainer{{"z", "always", true}, {"a", "on-failure", true}, {"m", "rm", true}, {"ended", "no", false}}
	h.networks = []string{
		`{"Name": "host", "IPAM": {"Config": []}}`,
		`{"Name": "web", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "10.8.0.0/24"}]}}`,
		`{"Name": "db", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}`,
	}
	want := plan.Observation{Facts: plan.Facts{
		Containers: []plan.Container{
			{Name: "a", OnBridge: true},
			{Name: "m", OnBridge: true, AutoRemove: true},
			{Name: "z", OnBridge: true},
		},
		Networks: []plan.Network{
			{Name: "db", Subnets: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}},
			{Name: "web", Subnets: []netip.Prefix{netip.MustParsePrefix("10.8.0.0/24"), netip.MustParsePrefix("10.9.0.0/24")}},
		},
	}}
	if diff := cmp.Diff(want, h.observe(), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestObserveAfterApplyIsWhatWasWanted(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.apply(&fabricDocker)
	h.log = nil
	o := h.observe()
	if diff := cmp.Diff(&fabricDocker, o.State.Docker, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(o.Obstacles) != 0 {
		t.Errorf("obstacles: %v", o.Obstacles)
	}
}

func TestObserveOfTheFabricsDockerdThatHasEnded(t *testing.T) {
	h := newFakeHost(t, "")
	h.apply(&fabricDocker)
	h.pid, h.log = 0, nil
	o := h.observe()
	want := &plan.Docker{Config: fabricConfig}
	if diff := cmp.Diff(want, o.State.Docker, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(o.Obstacles) != 0 {
		t.Errorf("obstacles: %v", o.Obstacles)
	}
}

func TestObserveNamesKeysThatSomebodySet(t *testing.T) {
	h := newFakeHost(t, `{"mtu": 1400, "bip": "10.0.0.1/24"}`)
	h.checkObstacles(
		`/daemon.json sets "bip" to "10.0.0.1/24", which the fabric has to set itself`,
		`/daemon.json sets "mtu" to 1400, which the fabric has to set itself`)
}

func TestObserveNamesThePlaceInAnUnparsableFile(t *testing.T) {
	h := newFakeHost(t, "{,}")
	h.checkObstacles("/daemon.json: line 1, column 2: invalid character ',' looking for beginning of object key string; the file is not touched")
}

func TestObserveDoesNotWakeDockerd(t *testing.T) {
	h := newFakeHost(t, "")
	h.pid = 0
	h.checkObstacles("dockerd does not run (docker.service is inactive)")
}

func TestObserveTellsAMaskedDockerFromNone(t *testing.T) {
	h := newFakeHost(t, "")
	h.masked, h.pid = true, 0
	h.checkObstacles("dockerd does not run: docker.service is masked")
}

func TestObserveTellsNoDockerFromAnotherKind(t *testing.T) {
	h := newFakeHost(t, "")
	h.loaded, h.pid = false, 0
	h.checkObstacles("something answers on /docker.sock, but there is no docker.service: a Docker from a snap, or one started by hand")
	if err := os.Remove(h.paths.Socket); err != nil {
		t.Fatal(err)
	}
	h.checkObstacles("Docker is not installed: there is no docker.service")
}

func TestObserveNamesFlagsThatCollide(t *testing.T) {
	h := newFakeHost(t, "")
	h.cmdline("/usr/sbin/dockerd", "--mtu", "1400", "-b=br9", "--debug", "--config-file=/x.json")
	h.checkObstacles(
		`dockerd is started with --mtu 1400, which the fabric has to set in /daemon.json as "mtu"`,
		`dockerd is started with -b br9, which the fabric has to set in /daemon.json as "bridge"`,
		`dockerd is started with --config-file /x.json and does not read /daemon.json`)
}

func TestObserveNamesNetworksThatOverlap(t *testing.T) {
	h := newFakeHost(t, "")
	h.networks = []string{`{"Name": "web", "IPAM": {"Config": [{"Subnet": "172.17.128.0/24"}]}}`}
	h.checkObstacles(`Docker's network "web" has the subnet 172.17.128.0/24, which overlaps the fabric's network 172.17.0.0/16`)
}

func TestObserveNamesLiveRestore(t *testing.T) {
	h := newFakeHost(t, "")
	h.liveRestore = true
	h.checkObstacles()
	h.containers = []*fakeContainer{{"c", "no", true}}
	h.checkObstacles("Docker runs with live-restore beside running containers (c), so dockerd would ignore a new network configuration")
}

func TestAHostOfTheFabricsIsAskedForWhatCostsMostOnlyWhereItMatters(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeHost)
		want   bool
	}{
		"nothing": {func(*fakeHost) {}, false},
		"live-restore in daemon.json": {func(h *fakeHost) {
			h.write(strings.Replace(h.file(h.paths.DaemonJSON), "{", `{"live-restore": true,`, 1))
		}, true},
		"live-restore as a flag": {func(h *fakeHost) { h.cmdline("/usr/sbin/dockerd", "--live-restore") }, true},
		"a swarm":                {func(h *fakeHost) { h.networks = []string{`{"Name": "ingress", "Scope": "swarm"}`} }, true},
		"a swarm's bridge":       {func(h *fakeHost) { h.networks = []string{`{"Name": "docker_gwbridge", "Scope": "local"}`} }, true},
	} {
		h := newFakeHost(t, userJSON)
		h.apply(&fabricDocker)
		h.log = nil
		c.change(h)
		h.liveRestore, h.swarm = true, `"LocalNodeState": "active"`
		facts := h.observe().Facts
		if asked := facts.LiveRestore && facts.SwarmPort == 4789; asked != c.want {
			t.Errorf("%s: live-restore %v, port %d of the swarm; asked for, want %v", name, facts.LiveRestore, facts.SwarmPort, c.want)
		}
	}
}

func TestThePortOfASwarmIsAFact(t *testing.T) {
	for swarm, want := range map[string]uint16{
		`"LocalNodeState": "inactive"`:                                  0,
		`"LocalNodeState": "active"`:                                    4789, // a worker is not told the port
		`"LocalNodeState": "active", "Cluster": {"DataPathPort": 0}`:    4789,
		`"LocalNodeState": "active", "Cluster": {"DataPathPort": 7789}`: 7789,
	} {
		h := newFakeHost(t, "")
		h.swarm = swarm
		if got := h.observe().Facts.SwarmPort; got != want {
			t.Errorf("%s: port %d, want %d", swarm, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	got := flags([]string{"dockerd", "--mtu", "1400", "--bip=10.0.0.1/24", "-b", "br1", "-bbr2", "-b=br3", "-H", "fd://", "--mtu"})
	want := []flag{
		{"--mtu", "1400"}, {"--bip", "10.0.0.1/24"}, {"-b", "br1"}, {"-b", "br2"}, {"-b", "br3"}, {"-H", "fd://"}, {"--mtu", ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(flag{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestADockerdThatWouldNotStartAgainWithoutForwardingIsTold(t *testing.T) {
	const want = "dockerd uses nftables, and IPv4 forwarding is off: it would not start again, since it does not switch forwarding on itself then"
	for _, tc := range []struct {
		file, forwards string
		flags          []string
		want           []string
	}{
		{`{"firewall-backend": "nftables"}`, "0", nil, []string{want}},
		{"", "0", []string{"--firewall-backend=nftables"}, []string{want}},
		{`{"firewall-backend": "nftables"}`, "1", nil, nil},
		{`{"firewall-backend": "nftables", "ip-forward": false}`, "0", nil, nil},
		{`{"firewall-backend": "iptables"}`, "0", nil, nil},
		{"", "0", nil, nil}, // it switches forwarding on
	} {
		h := newFakeHost(t, tc.file)
		if len(tc.flags) > 0 {
			h.cmdline(append([]string{"/usr/sbin/dockerd"}, tc.flags...)...)
		}
		path := filepath.Join(h.r.proc, "sys/net/ipv4/ip_forward")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tc.forwards+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range h.observe().Facts.NoRestart {
			got = append(got, o.What)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s %q: %s", tc.file, tc.flags, diff)
		}
	}
}

func TestADockerdThatIsTooOldIsToldAtOnce(t *testing.T) {
	h := newFakeHost(t, "")
	h.api = "1.39" // of Docker 18.09
	h.checkObstacles("dockerd speaks another version of its API than the fabric: API version 1.39 is not supported by this client: the minimum supported API version is 1.40")
}
