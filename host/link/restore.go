package link

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/ovsfabric/fabric/plan"
)

// maxHostFile bounds what Restore reads, in bytes. The file has a few hundred.
const maxHostFile = 64 << 10

// Restore makes the links again that the host file at path (plan.HostFile)
// tells. It is for boot, when Open vSwitch has its bridge back from its
// database and the kernel has forgotten the rest; it waits for that bridge
// until ctx ends.
func Restore(ctx context.Context, path string) error {
	f, err := readHostFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return new(Resource).Apply(ctx, plan.HostState{Links: &f.Links})
}

func readHostFile(path string) (plan.HostFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return plan.HostFile{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHostFile+1))
	if err != nil {
		return plan.HostFile{}, err
	}
	if len(data) > maxHostFile {
		return plan.HostFile{}, fmt.Errorf("longer than %d bytes: this is not what fabric wrote", maxHostFile)
	}
	return plan.DecodeHostFile(data)
}

// Rejoin puts the switch back into the fabric's bridge, for when Open vSwitch
// has made its internal port anew: on the userspace datapath that is a TAP,
// which goes when ovs-vswitchd does. The kernel alone tells what to do, so
// that an apply that is under way is never undone by a file that is older. A
// host without the bridge or the switch is left as it is.
func Rejoin(ctx context.Context) error {
	h, err := open(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := h.links()
	if err != nil {
		return err
	}
	member, err := h.find(plan.AccessName(plan.DefaultNetwork))
	if member == nil || err != nil {
		return err
	}
	for _, bridge := range links {
		m, marked := parseMark(bridge.Attrs().Alias)
		if !marked || m.owner == "" || bridge.Type() != "bridge" {
			continue
		}
		if _, err := h.attach(member, bridge, bridge.Attrs().MTU, true); err != nil {
			return err
		}
	}
	return nil
}
