//go:build privileged

package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/plan"
)

func TestApplyMakesTheBridge(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	check(t, nil)
	apply(t, &want)
	check(t, &want)
	if mtu := get(t, member).Attrs().MTU; mtu != want.MTU {
		t.Errorf("MTU of the member = %d, want %d", mtu, want.MTU)
	}
	o := observe(t, query())
	if len(o.Obstacles) > 0 || len(o.Facts.Routes) > 0 {
		t.Errorf("the fabric's own links are in its way: %+v, routes %+v", o.Obstacles, o.Facts.Routes)
	}
}

func TestApplyAgainTouchesNothing(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)

	links, addrs, done := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64), make(chan struct{})
	defer close(done)
	must(t, netlink.LinkSubscribe(links, done))
	must(t, netlink.AddrSubscribe(addrs, done))
	apply(t, &want)
	// The kernel sends a socket its messages in order, so once these two
	// changes are seen everything that Apply caused would have been seen.
	addBridge(t, "last")
	addAddress(t, "last", "192.0.2.1/24")
	for l := range links {
		if name := l.Attrs().Name; name == "last" {
			break
		} else if name == want.Name || name == member {
			t.Errorf("%s was touched", name)
		}
	}
	last := get(t, "last").Attrs().Index
	for a := range addrs {
		if a.LinkIndex == last {
			break
		}
		t.Errorf("address %s was touched", a.LinkAddress.String())
	}
}

func TestApplyWaitsForTheSwitch(t *testing.T) {
	namespace(t)
	want := demo()
	applied := make(chan error)
	h, err := open(t.Context())
	must(t, err)
	defer h.Close()
	go func() {
		_, err := h.form(deadline(t), want)
		applied <- err
	}()
	for len(addressesIfAny(t, want.Name)) == 0 {
		select {
		case err := <-applied:
			t.Fatalf("Apply ended before the switch was there: %v", err)
		default:
			runtime.Gosched()
		}
	}
	addTAP(t, member)
	must(t, <-applied)
	check(t, &want)
}

func addressesIfAny(t *testing.T, device string) []string {
	t.Helper()
	if !exists(t, device) {
		return nil
	}
	return addresses(t, device)
}

func TestApplyGivesUpWaitingForTheSwitch(t *testing.T) {
	namespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	want := demo()
	err := new(Resource).Apply(ctx, plan.HostState{Links: &want})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), member) {
		t.Errorf("error = %v, want the deadline, and %s named", err, member)
	}
	checkAddresses(t, "docker0", "172.17.64.1/16")
}

func TestApplyChangesEverything(t *testing.T) {
	for _, promote := range []string{"0", "1"} {
		t.Run("promote_secondaries="+promote, func(t *testing.T) {
			namespace(t)
			must(t, os.WriteFile("/proc/sys/net/ipv4/conf/default/promote_secondaries", []byte(promote), 0))
			must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/promote_secondaries", []byte(promote), 0))
			addTAP(t, member)
			want := demo()
			apply(t, &want)
			want.MAC, want.MTU = "02:42:ac:11:80:01", 1400
			want.Address = netip.MustParsePrefix("172.17.128.1/16")
			apply(t, &want)
			check(t, &want)
			checkAddresses(t, "docker0", "172.17.128.1/16")
			want.Address = netip.MustParsePrefix("10.1.0.1/16")
			apply(t, &want)
			checkAddresses(t, "docker0", "10.1.0.1/16")
		})
	}
}

// udev gives a device another MAC unless somebody set the one that it has
// (get_mac in systemd's link-config.c). The kernel shows which it takes that
// to be: a bridge whose MAC was set does not take that of a member.
func TestTheBridgesMACIsOneThatWasSet(t *testing.T) {
	for name, before := range map[string]func(t *testing.T){
		"on a new bridge": func(*testing.T) {},
		"on Docker's":     func(t *testing.T) { addBridge(t, "docker0") },
	} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			before(t)
			lower := addTAP(t, member)
			must(t, netlink.LinkSetHardwareAddr(lower, net.HardwareAddr{2, 0, 0, 0, 0, 1}))
			want := demo()
			apply(t, &want)
			check(t, &want)
		})
	}
}

func TestContainersHearOfAnotherMAC(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)
	must(t, netlink.LinkSetMaster(addVeth(t, "v0", "v1"), get(t, want.Name)))
	up := deadline(t)
	for get(t, want.Name).Attrs().OperState != netlink.OperUp { // until then it sends nothing, for a second where many links change
		must(t, up.Err())
		runtime.Gosched()
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	arp := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP))
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: arp, Ifindex: get(t, "v1").Attrs().Index}))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))

	want.MAC = "02:42:ac:11:80:01"
	apply(t, &want)
	frame := make([]byte, 64)
	n, _, err := unix.Recvfrom(fd, frame, 0)
	must(t, err)
	const header, sender = 14, 8 // the sender's two addresses come after the hardware's and the protocol's kinds (RFC 826)
	mac, _ := net.ParseMAC(want.MAC)
	if got := frame[header+sender : n]; !bytes.HasPrefix(got, append(mac, want.Address.Addr().AsSlice()...)) {
		t.Errorf("sent: % x", frame[:n])
	}
	if left, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + want.Name + "/arp_notify"); err != nil || string(left) != "0\n" {
		t.Errorf("arp_notify is %q (%v), as it was not", left, err)
	}
}

func TestApplyTakesOverDockersBridge(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	addBridge(t, "docker0")
	addAddress(t, "docker0", "192.168.5.1/24")
	former := *observe(t, query()).State.Links
	if former.Owner != "" || former.Address.String() != "192.168.5.1/24" {
		t.Fatalf("observed %+v, want dockerd's bridge", former)
	}
	want := demo()
	apply(t, &want)
	check(t, &want)
	checkAddresses(t, "docker0", "172.17.64.1/16")

	apply(t, &former)
	check(t, &former)
	if alias := get(t, "docker0").Attrs().Alias; alias != "" {
		t.Errorf("alias after the rollback = %q, want none", alias)
	}
}

func TestRollbackOfAReplacementCutShort(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	former := demo()
	apply(t, &former)
	// As far as an Apply gets when it is killed before it removes the former
	// address.
	must(t, netlink.LinkSetAlias(get(t, "docker0"), "fabric=demo 10.1.0.1/16 172.17.64.1/16"))
	addAddress(t, "docker0", "10.1.0.1/16")
	apply(t, &former)
	check(t, &former)
	checkAddresses(t, "docker0", "172.17.64.1/16")
}

func TestAddressThatDockerdRememberedGoes(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)
	addAddress(t, "docker0", "172.17.0.1/16")
	if got := observe(t, query()).State.Links.Address.String(); got != "172.17.0.1/16" {
		t.Errorf("observed address %s, want the one that is wrong", got)
	}
	apply(t, &want)
	check(t, &want)
	checkAddresses(t, "docker0", "172.17.64.1/16")
}

func TestAddressThatDockerdGaveTheBridgeByItselfGoes(t *testing.T) {
	for _, to := range []struct {
		name string
		want *plan.Links
		left []string
	}{
		{"where the fabric stays", new(demo()), []string{"172.17.64.1/16", "192.168.5.1/24"}},
		{"where it goes", nil, []string{"192.168.5.1/24"}},
	} {
		t.Run(to.name, func(t *testing.T) {
			namespace(t)
			addTAP(t, member)
			apply(t, new(demo()))
			addAddress(t, "docker0", "192.168.5.1/24")
			addAddress(t, "docker0", "192.168.7.1/24")
			claim(t, "192.168.7.1/24")
			apply(t, to.want)
			checkAddresses(t, "docker0", to.left...)
		})
	}
}

func TestOnlyAnAddressOfTheFabricsBridgeIsClaimed(t *testing.T) {
	for name, alias := range map[string]string{"a bridge of somebody else": "theirs", "a bridge without the address": "fabric=demo 172.17.64.1/16"} {
		t.Run(name, func(t *testing.T) {
			namespace(t)
			addBridge(t, "docker0")
			must(t, netlink.LinkSetAlias(get(t, "docker0"), alias))
			if alias == "theirs" {
				addAddress(t, "docker0", "192.168.7.1/24")
			}
			claim(t, "192.168.7.1/24")
			if got := get(t, "docker0").Attrs().Alias; got != alias {
				t.Errorf("alias = %q, want %q", got, alias)
			}
		})
	}
}

func claim(t *testing.T, address string) {
	t.Helper()
	must(t, new(Resource).Claim(t.Context(), netip.MustParsePrefix(address)))
}

func TestMembersAndAddressesOfOthersStay(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)
	bridge := get(t, "docker0")
	must(t, netlink.LinkSetMaster(addVeth(t, "veth1", "container"), bridge))
	addAddress(t, "docker0", "192.168.5.1/24")
	want.Address = netip.MustParsePrefix("172.17.128.1/16")
	apply(t, &want)
	checkAddresses(t, "docker0", "172.17.128.1/16", "192.168.5.1/24")

	apply(t, nil)
	checkAddresses(t, "docker0", "192.168.5.1/24")
	if got := get(t, "veth1").Attrs().MasterIndex; got != bridge.Attrs().Index {
		t.Errorf("master of the container's link = %d, want %d", got, bridge.Attrs().Index)
	}
	if got := get(t, member).Attrs().MasterIndex; got != 0 {
		t.Errorf("master of %s = %d, want none", member, got)
	}
	if alias := get(t, "docker0").Attrs().Alias; alias != "" {
		t.Errorf("alias = %q, want none", alias)
	}
}

func TestReleaseDeletesTheBridge(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	addBridge(t, "others")
	want := demo()
	apply(t, &want)
	for range 2 {
		apply(t, nil)
		if exists(t, "docker0") {
			t.Error("docker0 is still there")
		}
	}
	if !exists(t, member) || !exists(t, "others") {
		t.Error("a link of others was deleted")
	}
}

func TestReleaseKeepsABridgeThatSomebodyGaveAnIPv6Address(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)
	addAddress(t, "docker0", "fd77::1/64")
	apply(t, nil)
	if !exists(t, "docker0") {
		t.Error("docker0 is gone, and the address with it")
	}
}

func TestAnotherMemberTakesThePlaceOfTheFormerOne(t *testing.T) {
	for _, names := range [][2]string{{plan.BridgeName, member}, {member, plan.BridgeName}} {
		t.Run(names[0]+" to "+names[1], func(t *testing.T) {
			namespace(t)
			addTAP(t, names[0])
			addTAP(t, names[1])
			want := demo()
			want.Member = names[0]
			moved := 0
			r := &Resource{Moved: func(context.Context) error { moved++; return nil }}
			must(t, r.Apply(deadline(t), plan.HostState{Links: &want}))
			if moved != 0 {
				t.Error("the first member is told of as one that took the place of another")
			}
			want.Member = names[1]
			for range 2 {
				must(t, r.Apply(deadline(t), plan.HostState{Links: &want}))
				check(t, &want)
			}
			if moved != 1 {
				t.Errorf("the switch was told of the new member %d times, want once", moved)
			}
			former := get(t, names[0]).Attrs()
			if former.MasterIndex != 0 || former.RawFlags&unix.IFF_UP != 0 {
				t.Errorf("the former member has the master %d and the flags %#x, want none, and down", former.MasterIndex, former.RawFlags)
			}
		})
	}
}

func TestTwoMembersAtOnceAreALoopThatApplyEnds(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)
	must(t, netlink.LinkSetMaster(addTAP(t, plan.BridgeName), get(t, "docker0")))
	if got := observe(t, query()).State.Links.Member; got != plan.BridgeName {
		t.Errorf("observed the member %s, want the one that has to leave, %s", got, plan.BridgeName)
	}
	apply(t, &want)
	check(t, &want)
	if master := get(t, plan.BridgeName).Attrs().MasterIndex; master != 0 {
		t.Errorf("master of %s = %d, want none", plan.BridgeName, master)
	}
}

func TestRejoinAfterTheSwitchCameBack(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	apply(t, &want)
	must(t, netlink.LinkDel(get(t, member)))
	must(t, Rejoin(deadline(t)))
	must(t, netlink.LinkSetDown(addTAP(t, member)))
	must(t, Rejoin(deadline(t)))
	check(t, &want)
}

func TestRejoinLeavesOtherBridgesAlone(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	addBridge(t, "docker0")
	must(t, Rejoin(deadline(t)))
	if got := get(t, member).Attrs().MasterIndex; got != 0 {
		t.Errorf("master = %d, want none", got)
	}
}

func TestRestore(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	want := demo()
	data, err := plan.HostFile{Version: plan.HostFileVersion, Fabric: want.Owner, Links: want}.Encode()
	must(t, err)
	path := filepath.Join(t.TempDir(), "host.json")
	must(t, os.WriteFile(path, data, 0o644))
	must(t, Restore(deadline(t), path))
	check(t, &want)
}
