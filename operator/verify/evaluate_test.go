package verify_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/operator/verify/verifytest"
)

func TestAWorkingFabricPassesEveryCheck(t *testing.T) {
	exp := verifytest.Three()
	report := verify.Evaluate(exp, verifytest.Results(exp))
	if got := findings(report); len(got) > 0 || !report.Passed {
		t.Errorf("passed %v, findings %v", report.Passed, got)
	}
	if got, want := len(report.Checks), 3+6+6+6+6+6+3+3+3+6; got != want {
		t.Errorf("%d checks, want %d", got, want)
	}
}

func TestEveryFailureHasItsCauseAndCure(t *testing.T) {
	const (
		open    = "let VXLAN (UDP port 4789) pass "
		visible = " (host firewalls, security groups); fabric status shows each tunnel"
		apply   = "run fabric apply"
	)
	small := func(res *verify.Results) map[string][]wire.PingResult { return res.Pings.Small }
	tests := []struct {
		name   string
		breaks func(exp *verify.Expected, res *verify.Results)
		// worst is one of the failures, the one that the pattern is known by.
		worst finding
	}{
		{
			name: "nobody reaches a host whose tunnels are down",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), involving(*exp, "h3")...)
				for _, peer := range []string{"h1", "h2"} {
					port(*res, "h3", peer, down)
					port(*res, peer, "h3", down)
				}
			},
			worst: finding{"ping h1 h3", verify.Fail, "h3 is cut off: all its tunnels are down",
				open + "between the underlay address of h3 and the others" + visible},
		},
		{
			name: "nobody reaches a host whose tunnels are up",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), involving(*exp, "h3")...)
			},
			worst: finding{"ping h3 h1", verify.Fail,
				"h3 is cut off: docker0 is not joined to its tunnels, docker0 has not its address, or its firewall drops everything",
				"run fabric apply; then look at bridge link, ip addr show docker0 and iptables -S on h3"},
		},
		{
			name: "nobody reaches a host without tunnel ports",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), involving(*exp, "h3")...)
				tree := res.Trees["h3"]
				tree.Ports = slices.DeleteFunc(slices.Clone(tree.Ports), func(p wire.TreePort) bool { return p.Peer != "" })
				res.Trees["h3"] = tree
			},
			worst: finding{"ping h3 h1", verify.Fail, "h3 is cut off: its bridge has no tunnel ports", apply},
		},
		{
			name: "nobody reaches a host that takes itself for the root",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), involving(*exp, "h3")...)
				tree := res.Trees["h3"]
				tree.Root.MAC = tree.Bridge.MAC
				res.Trees["h3"] = tree
			},
			worst: finding{"ping h2 h3", verify.Fail,
				"h3 is cut off: it takes itself for the root bridge, so nothing comes through its tunnels",
				open + "between the underlay address of h3 and the others" + visible},
		},
		{
			name: "nobody reaches anybody and no tunnel is up",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), verify.Matrix(*exp)...)
				for _, host := range exp.Hosts {
					for _, p := range host.Ports {
						port(*res, host.Name, p.Peer, down)
					}
				}
			},
			worst: finding{"ping h1 h2", verify.Fail, "no host reaches another: the underlay carries no tunnels",
				open + "between all hosts" + visible},
		},
		{
			name: "nobody reaches anybody though the tunnels are up",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), verify.Matrix(*exp)...)
			},
			worst: finding{"ping h1 h2", verify.Fail,
				"no host reaches another though tunnels are up: docker0 is not joined to them, or is filtered",
				"run fabric apply; then look at bridge link and ip addr show docker0 on one host"},
		},
		{
			name: "one direction fails",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				lose(small(res), verify.Pair{From: "h1", To: "h2"})
			},
			worst: finding{"ping h1 h2", verify.Fail,
				"h2 reaches h1 but not the other way round: h2 does not answer echoes or answers by another way",
				"look at the firewall of h2 (iptables -S INPUT) and at its route to 172.17.0.0/16 (ip route get 172.17.1.1)"},
		},
		{
			name: "one pair fails",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				lose(small(res), verify.Pair{From: "h1", To: "h2"}, verify.Pair{From: "h2", To: "h1"})
			},
			worst: finding{"ping h2 h1", verify.Fail, "h1 and h2 do not reach each other, while others reach both",
				"look for a stale neighbour entry (ip neigh show dev docker0) and for filters on both: fabric status, iptables -S"},
		},
		{
			name: "some echoes are lost",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				res.Pings.Small["h1"][0].Received = 2
			},
			worst: finding{"ping h1 h2", verify.Warn, "the underlay loses packets, or the tree has just changed",
				"verify again; if it stays, look for loss between the underlay addresses"},
		},
		{
			name: "packets of the MTU vanish in the underlay",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				lose(res.Pings.Full, verify.Pair{From: "h1", To: "h2"})
				res.Largest = map[string]int{"h1": 1350}
			},
			worst: finding{"mtu h1 h2", verify.Fail,
				"the underlay carries less than the 1500 bytes that a packet of 1450 takes with its tunnel: no more than 1350 pass",
				"set underlay.mtu in the fabric's file to 1400 and run fabric apply, or raise the underlay's MTU to 1500"},
		},
		{
			name: "the bridge has a smaller MTU",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				res.Pings.Full["h1"][0] = verifytest.TooLong(res.Pings.Full["h1"][0].Target, 1400)
			},
			worst: finding{"mtu h1 h2", verify.Fail, "docker0 on h1 has an MTU of 1400 instead of 1450",
				"run fabric apply, and find out what sets another MTU if it comes back"},
		},
		{
			name: "one byte over the MTU passes",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				res.Pings.Oversize["h1"][0] = res.Pings.Full["h1"][0]
			},
			worst: finding{"oversize h1 h2", verify.Fail, "docker0 on h1 has an MTU over 1450",
				"run fabric apply, and find out what sets another MTU if it comes back"},
		},
		{
			name: "one byte over the MTU leaves and vanishes",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				lose(res.Pings.Oversize, verify.Pair{From: "h1", To: "h2"})
			},
			worst: finding{"oversize h1 h2", verify.Fail, "docker0 on h1 has an MTU over 1450",
				"run fabric apply, and find out what sets another MTU if it comes back"},
		},
		{
			name: "the root is another host, the planned one being away",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				delete(res.Trees, "h1")
				for _, host := range []string{"h2", "h3"} {
					tree := res.Trees[host]
					tree.Root.MAC = exp.Hosts[1].BridgeMAC
					res.Trees[host] = tree
				}
			},
			worst: finding{"tree h3", verify.Fail, "h1 is down or cut off, and h2 has taken over as the root bridge",
				"bring h1 back; the tree then changes back by itself"},
		},
		{
			name: "the root is another host by its priority",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				for _, host := range []string{"h1", "h2", "h3"} {
					tree := res.Trees[host]
					tree.Root.MAC = exp.Hosts[1].BridgeMAC
					res.Trees[host] = tree
				}
			},
			worst: finding{"tree h3", verify.Fail, "the priority of h1 or of h2 is not the planned one", apply},
		},
		{
			name: "the root is a stranger",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				tree := res.Trees["h2"]
				tree.Root.MAC = "02:00:00:00:00:99"
				res.Trees["h2"] = tree
			},
			worst: finding{"tree h2", verify.Fail,
				"a bridge that is none of the fabric's, 02:00:00:00:00:99, takes part in the spanning tree with a better priority",
				"find the switch with this MAC address and take it off the fabric"},
		},
		{
			name: "one tunnel is down",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				port(*res, "h1", "h2", down)
				port(*res, "h2", "h1", down)
			},
			worst: finding{"tree h1 h2", verify.Fail, "nothing comes through the tunnel between h1 and h2",
				open + "between the underlay addresses of h1 and h2, both ways" + visible},
		},
		{
			name: "the tree goes round a lost tunnel",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				port(*res, "h1", "h3", down)
				port(*res, "h3", "h2", func(p *wire.TreePort) { p.Role, p.State = "root", "forwarding" })
			},
			worst: finding{"tree h3 h2", verify.Fail, "the tree goes round the tunnel h1–h3, which is down",
				"see to that tunnel; the tree then changes back by itself"},
		},
		{
			name: "another port is blocked",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				port(*res, "h3", "h2", func(p *wire.TreePort) { p.Role, p.State = "designated", "forwarding" })
			},
			worst: finding{"tree h3 h2", verify.Fail, "a path cost or a priority is not the planned one", apply},
		},
		{
			name: "a port is still learning",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				port(*res, "h2", "h1", func(p *wire.TreePort) { p.State = "learning" })
			},
			worst: finding{"tree h2 h1", verify.Fail, "the tree is still settling", "verify again in a moment"},
		},
		{
			name: "a port could not be made",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				port(*res, "h1", "h2", func(p *wire.TreePort) { p.OFPort, p.Error = -1, "could not add network device: File exists" })
			},
			worst: finding{"tree h1 h2", verify.Fail, "Open vSwitch on h1 could not make the port t-h2",
				"see to what the message says; ovs-vswitchd's log on h1 has more"},
		},
		{
			name: "a tunnel is missing",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				tree := res.Trees["h1"]
				tree.Ports = tree.Ports[:1]
				res.Trees["h1"] = tree
			},
			worst: finding{"tree h1 h3", verify.Fail, "the port was removed after the last apply, or that is still to come", apply},
		},
		{
			name: "a tunnel is not in the plan",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				tree := res.Trees["h1"]
				tree.Ports = append(tree.Ports, wire.TreePort{Name: "t-h9", Peer: "h9", Link: "up"})
				res.Trees["h1"] = tree
			},
			worst: finding{"tree h1 h9", verify.Fail, "the port was added after the last apply, or its removal is still to come", apply},
		},
		{
			name: "a host has the address of another",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				res.ARP["h2"][0].MACs = []string{exp.Hosts[0].LinkMAC, exp.Hosts[2].LinkMAC}
			},
			worst: finding{"addresses h1", verify.Fail, "h3 has the address of h1 on its docker0: dockerd or somebody put it there",
				"run fabric apply; if it comes back, look for what sets it in ip addr show docker0 and in Docker's configuration on h3"},
		},
		{
			name: "a stranger has the address of a host",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				res.ARP["h1"][0].MACs = []string{"02:42:ac:11:00:02"}
			},
			worst: finding{"addresses h1", verify.Fail,
				"a container or a machine that is on the fabric took the address of h1, or docker0 has another MAC than planned",
				"find this MAC address (bridge fdb show; docker inspect) and give its owner another address, or run fabric apply if it is the docker0 of h1"},
		},
		{
			name: "TCP hangs on the userspace datapath",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				exp.Hosts[1].Userspace = true
				res.Transfers[0].IperfClientResult = wire.IperfClientResult{Error: "control socket has closed unexpectedly"}
			},
			worst: finding{"throughput h1 h2", verify.Fail,
				"ping passes and TCP does not: on the userspace datapath, a device leaves checksums to hardware that packets never meet",
				"switch it off on the devices of the underlay and between it and Open vSwitch, on both hosts: ethtool -K DEV tx off"},
		},
		{
			name: "TCP is slow to nothing because of the MTU",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				lose(res.Pings.Full, verify.Pair{From: "h1", To: "h2"})
				res.Transfers[0].BitsPerSecond = 0
			},
			worst: finding{"throughput h1 h2", verify.Fail, "packets of the fabric's MTU do not pass", "see to the mtu check first"},
		},
		{
			name: "the containers of one host are filtered",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(res.Containers.Pings.Small, involving(*exp, "h2")...)
			},
			worst: finding{"containers h1 h2", verify.Fail,
				"the hosts reach each other and the containers do not: bridged frames go through the firewall (br_netfilter), and h2 drops them where it forwards, by iptables' policy, by a table of nftables, or by Docker's icc=false",
				"on h2: iptables -S FORWARD, and each chain with \"hook forward\" in nft list ruleset, for one that drops is enough; let what comes in by docker0 and goes out by docker0 pass in all of them, take \"icc\": false out of daemon.json, or set net.bridge.bridge-nf-call-iptables=0"},
		},
		{
			name: "a container has a smaller MTU",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				full := res.Containers.Pings.Full["h1"]
				full[0] = verifytest.TooLong(full[0].Target, 1400)
			},
			worst: finding{"containers h1 h2", verify.Fail, "containers on h1 have an MTU of 1400 instead of 1450",
				"run fabric apply, which sets dockerd's mtu; then start the containers anew"},
		},
		{
			name: "a container has a larger MTU",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				lose(res.Containers.Pings.Oversize, verify.Pair{From: "h1", To: "h2"})
			},
			worst: finding{"containers h1 h2", verify.Fail, "containers on h1 have an MTU over 1450, so large transfers hang",
				"run fabric apply, which sets dockerd's mtu; then start the containers anew"},
		},
		{
			name: "a container has an address of another host's range",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				res.Containers.Addresses["h3"] = netip.MustParseAddr("172.17.200.2")
			},
			worst: finding{"containers h3", verify.Fail,
				"dockerd on h3 gives out addresses of other hosts: it did not take its fixed-cidr",
				"run fabric apply; then look for a warning on fixed-cidr in journalctl -u docker on h3"},
		},
		{
			name: "a host's tunnels are in docker0 themselves, and its switch floods nothing there",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				exp.Hosts[2].Member, exp.Hosts[2].Switch = "br0", "4.0.0"
				deaf(res.Broadcast, "h3")
			},
			worst: finding{"broadcast h1 h3", verify.Fail,
				"frames to all that arrive by a tunnel do not reach docker0 on h3: it is joined to the tunnels by br0 itself, as an older fabric made it, and Open vSwitch 4.0.0 floods nothing to a port that takes no part in the tree",
				"run fabric apply, which joins docker0 by a bridge of its own"},
		},
		{
			name: "nobody finds anybody's MAC address any more",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				for i := range exp.Hosts {
					exp.Hosts[i].Member, exp.Hosts[i].Switch = "br0", "4.0.0"
					deaf(res.Broadcast, exp.Hosts[i].Name)
				}
				lose(small(res), verify.Matrix(*exp)...)
			},
			worst: finding{"ping h1 h2", verify.Fail,
				"frames to all that arrive by a tunnel do not reach docker0 on h2: it is joined to the tunnels by br0 itself, as an older fabric made it, and Open vSwitch 4.0.0 floods nothing to a port that takes no part in the tree",
				"run fabric apply, which joins docker0 by a bridge of its own"},
		},
		{
			name:   "frames to all are filtered",
			breaks: func(_ *verify.Expected, res *verify.Results) { deaf(res.Broadcast, "h3") },
			worst: finding{"broadcast h2 h3", verify.Fail,
				"frames to all do not get from h2 to h3: somebody's flows or a filter on bridged frames drop them",
				"on both: look at ovs-ofctl dump-flows br0, nft list ruleset (tables bridge and arp) and ebtables -L"},
		},
		{
			name:   "frames to all are filtered between containers",
			breaks: func(_ *verify.Expected, res *verify.Results) { deaf(res.Containers.Broadcast, "h3") },
			worst: finding{"broadcast h1 h3", verify.Fail,
				"frames to all pass between the hosts and not between containers: a filter on bridged frames of h1 or h3 drops ARP",
				"on both: look at nft list ruleset (tables bridge and arp), ebtables -L and arptables -L"},
		},
		{
			name: "frames to all do not pass because nothing does",
			breaks: func(exp *verify.Expected, res *verify.Results) {
				lose(small(res), involving(*exp, "h3")...)
				for _, peer := range []string{"h1", "h2"} {
					port(*res, "h3", peer, down)
					port(*res, peer, "h3", down)
				}
				deaf(res.Broadcast, "h3")
			},
			worst: finding{"broadcast h1 h3", verify.Skipped, "", ""},
		},
		{
			name: "the patch port of a network is gone",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				tree := res.Trees["h2"]
				tree.Ports = slices.DeleteFunc(tree.Ports, func(p wire.TreePort) bool { return p.Network != "" })
				res.Trees["h2"] = tree
			},
			worst: finding{"tree h2", verify.Fail,
				"the patch port of the network default on h2 was removed after the last apply, or that is still to come", apply},
		},
		{
			name: "the patch port of a network leads nowhere",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				for i, p := range res.Trees["h2"].Ports {
					if p.Network != "" {
						res.Trees["h2"].Ports[i].Role, res.Trees["h2"].Ports[i].State = "disabled", "discarding"
					}
				}
			},
			worst: finding{"tree h2", verify.Fail,
				"the patch port patch-default on h2 carries nothing: its other end is gone or leads elsewhere, or with STP it still listens and learns",
				"verify again in half a minute; then run fabric apply"},
		},
		{
			name: "a probe could not be made",
			breaks: func(_ *verify.Expected, res *verify.Results) {
				delete(res.Pings.Small, "h2")
				res.Errors = []verify.ProbeError{{Check: verify.CheckPing, Host: "h2", Err: "broken pipe"}}
			},
			worst: finding{"ping h2", verify.Fail, "h2 could not make this probe",
				"see to what the message says, on h2"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			exp := verifytest.Three()
			res := verifytest.Results(exp)
			test.breaks(&exp, &res)
			report := verify.Evaluate(exp, res)
			found := findings(report)
			i := slices.IndexFunc(found, func(f finding) bool { return f.Where == test.worst.Where })
			if i < 0 {
				t.Fatalf("nothing found at %q, only: %v", test.worst.Where, found)
			}
			if diff := cmp.Diff(test.worst, found[i]); diff != "" {
				t.Error(diff)
			}
			failed := slices.ContainsFunc(found, func(f finding) bool { return f.Status == verify.Fail })
			if report.Passed == failed {
				t.Errorf("passed %v, though failures are %v", report.Passed, failed)
			}
			for _, f := range found {
				if f.Status != verify.Skipped && (f.Cause == "" || f.Cure == "") {
					t.Errorf("%s has no cause or no cure", f.Where)
				}
			}
		})
	}
}

func TestUnderlayIsTimedBesideTheFabric(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	for _, list := range res.Underlay {
		for i := range list {
			list[i].Avg = 7 * time.Millisecond
		}
	}
	report := verify.Evaluate(exp, res)
	if len(report.UnderlayRTTs) != 6 {
		t.Fatalf("%d round-trip times, want 6", len(report.UnderlayRTTs))
	}
	for _, rtt := range report.UnderlayRTTs {
		if rtt.Avg != 7*time.Millisecond {
			t.Errorf("%s to %s: %s", rtt.From, rtt.To, rtt.Avg)
		}
	}
}

func TestUnderlayThatAnswersNoPingsIsTimedBetweenNeighbours(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	lose(res.Underlay, verify.Matrix(exp)...)
	report := verify.Evaluate(exp, res)
	if !report.Passed {
		t.Error(findings(report))
	}
	var got []string
	for _, rtt := range report.UnderlayRTTs {
		got = append(got, rtt.From+" "+rtt.To)
	}
	// The way from h2 to h3 leads through h1.
	if diff := cmp.Diff([]string{"h1 h2", "h1 h3", "h2 h1", "h3 h1"}, got); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
}

func TestHostThatComesBackAfterItsRemovalIsReported(t *testing.T) {
	exp := verifytest.Three()
	exp.Removed = []string{"h9"}
	want := []finding{{
		Where: "removed h9", Status: verify.Fail,
		Cause: "h9 did not answer when it was removed from the file, and has come back",
		Cure:  "run fabric apply, which takes the fabric away from it, or put it into the file again",
	}}
	if diff := cmp.Diff(want, findings(verify.Evaluate(exp, verifytest.Results(exp)))); diff != "" {
		t.Error(diff)
	}
}

func TestAnOlderFabricThatFloodsPasses(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	for i := range exp.Hosts {
		exp.Hosts[i].Member, exp.Hosts[i].Switch = exp.Trunk, "3.1.0"
		tree := res.Trees[exp.Hosts[i].Name]
		tree.Ports = slices.DeleteFunc(tree.Ports, func(p wire.TreePort) bool { return p.Network != "" })
		res.Trees[exp.Hosts[i].Name] = tree
	}
	if found := findings(verify.Evaluate(exp, res)); len(found) > 0 {
		t.Error(found)
	}
}
