package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// unreachable says why the database at path cannot be asked.
func unreachable(ctx context.Context, path string, err error) plan.Obstacle {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return plan.Obstacle{
			What: fmt.Sprintf("Open vSwitch is not there: no socket %s", path),
			Cure: "install the package openvswitch-switch, or start it: systemctl start openvswitch-switch",
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		return plan.Obstacle{
			What: fmt.Sprintf("ovsdb-server is not running: nobody listens on %s", path),
			Cure: "systemctl restart openvswitch-switch",
		}
	case errors.Is(err, fs.ErrPermission):
		return plan.Obstacle{
			What: fmt.Sprintf("not allowed to use %s", path),
			Cure: "let the user be root, or use sudo",
		}
	case errors.Is(err, context.DeadlineExceeded):
		return plan.Obstacle{
			What: fmt.Sprintf("ovsdb-server takes connections on %s and does not answer within %s", path, patience.Stretch(ctx, answerTime)),
			Cure: "systemctl restart openvswitch-switch",
		}
	}
	if strings.Contains(err.Error(), "validation error") { // libovsdb has it in the text alone
		return plan.Obstacle{
			What: fmt.Sprintf("Open vSwitch is too old, its database lacks what the fabric sets: %v", err),
			Cure: "upgrade the package openvswitch-switch to version 2.6 or later",
		}
	}
	return plan.Obstacle{
		What: fmt.Sprintf("Open vSwitch does not answer: %v", err),
		Cure: "look at systemctl status openvswitch-switch and /var/log/openvswitch",
	}
}

// switchRuns says whether ovs-vswitchd runs beside the ovsdb-server at path.
// The database does not tell: what a dead ovs-vswitchd wrote is still there.
// A live one holds a lock on its pidfile (--pidfile in ovs-vswitchd(8)).
func switchRuns(path string) (bool, error) {
	f, err := os.Open(filepath.Join(filepath.Dir(path), "ovs-vswitchd.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return false, fmt.Errorf("asking for the lock on %s: %w", f.Name(), err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// kernelHasDatapath asks the kernel for Open vSwitch's datapath, which makes
// it load the module if it has one.
func kernelHasDatapath() (bool, error) {
	_, err := netlink.GenlFamilyGet("ovs_datapath")
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the kernel's Open vSwitch datapath: %w", err)
	}
	return true, nil
}

// datapathTypes returns the datapaths that work on this host, sorted. What
// ovs-vswitchd reports is what it was built with: "system" is there without
// the kernel module as well.
func datapathTypes(have *snapshot, inKernel bool) []string {
	types := append([]string{}, have.root.DatapathTypes...)
	slices.Sort(types)
	return slices.DeleteFunc(types, func(t string) bool { return t == "system" && !inKernel })
}

// notRunning is an ovs-vswitchd that does not run. The service does not start
// it where it cannot load Open vSwitch's module, but on a kernel that can load
// none (insert_kmods_if_required in utilities/ovs-kmod-ctl.in).
func notRunning(inKernel bool, lacks []plan.Obstacle) plan.Obstacle {
	o := plan.Obstacle{
		What: "ovs-vswitchd is not running, though ovsdb-server is",
		Cure: "systemctl restart openvswitch-switch",
	}
	if !inKernel && len(lacks) > 0 {
		o.Cure += fmt.Sprintf("; where that fails: %s: %s", lacks[0].What, lacks[0].Cure)
	}
	return o
}

// devices returns the network devices in the way of bridges that are not there
// yet. What a bridge of the fabric has left is none: the bridge takes it.
func devices(have *snapshot, q plan.Query) ([]plan.Obstacle, error) {
	var found []plan.Obstacle
	for _, name := range bridgeNames(q) {
		if have.bridge(name) != nil {
			continue
		}
		link, err := netlink.LinkByName(name)
		if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the network device %s: %w", name, err)
		}
		if isLeftover(link, q.Fabric) {
			continue
		}
		found = append(found, plan.Obstacle{
			What: fmt.Sprintf("network device %s exists and is not a bridge of Open vSwitch", name),
			Cure: "give it another name where the host's network is configured",
		})
	}
	return found, nil
}

// isLeftover tells whether a device is what a bridge of the fabric has left. It
// outlives the bridge on the userspace datapath: an ovs-vswitchd that is
// stopped leaves devices as they are, and one that starts knows nothing of a
// bridge that has gone from the database meanwhile.
func isLeftover(link netlink.Link, fabric string) bool {
	return link.Type() == "tuntap" && plan.IsBridgeMAC(fabric, link.Attrs().HardwareAddr)
}

// removeLeftovers takes those devices away that have no bridge of their name,
// unless they go by themselves.
func removeLeftovers(have *snapshot, fabric string) error {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // a link that came meanwhile is none that was left
		return fmt.Errorf("listing network devices: %w", err)
	}
	for _, link := range links {
		name := link.Attrs().Name
		if have.bridge(name) != nil || !isLeftover(link, fabric) {
			continue
		}
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) { // ovs-vswitchd may have got to it
			return fmt.Errorf("take away the network device %s that ovs-vswitchd has left: %w", name, err)
		}
	}
	return nil
}
