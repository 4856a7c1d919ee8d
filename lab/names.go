package lab

import (
	"path/filepath"
	"strings"
)

const (
	runDir  = "/run/fabric-lab"
	diskDir = "/var/lib/fabric-lab"
	// netnsDir is where ip-netns(8) keeps its namespaces.
	netnsDir = "/run/netns"

	// The two namespaces of a lab that are no host's.
	underlayName   = "ul"
	controllerName = "ctl"
)

// names derives what a lab calls its parts: everything that it makes on the
// machine bears the lab's name, so that several can be up at once.
type names string

// netns names a namespace: of a host, the underlay or the controller.
func (n names) netns(member string) string { return "lab-" + string(n) + "-" + member }

func (n names) netnsPath(member string) string { return filepath.Join(netnsDir, n.netns(member)) }

// ownsNetns tells whether a namespace's name is one of this lab's. No member's
// name holds a hyphen, so lab "a" does not claim what belongs to lab "a-b".
func (n names) ownsNetns(name string) bool {
	member, ok := strings.CutPrefix(name, n.netns(""))
	return ok && member != "" && !strings.Contains(member, "-")
}

// run is the folder of what lasts while the lab is up: state, keys, consoles.
func (n names) run() string { return filepath.Join(runDir, string(n)) }

// disks is the folder of what hosts write.
func (n names) disks() string { return filepath.Join(diskDir, string(n)) }

func (n names) state() string                 { return filepath.Join(n.run(), "lab.json") }
func (n names) ssh() string                   { return filepath.Join(n.run(), "ssh") }
func (n names) hostsFile() string             { return filepath.Join(n.run(), "hosts") }
func (n names) console(host string) string    { return filepath.Join(n.run(), host+".console") }
func (n names) disk(host, part string) string { return filepath.Join(n.disks(), host, part) }

// cgroup is relative to the root of a hierarchy.
func (n names) cgroup(parts ...string) string {
	return filepath.Join(append([]string{"fabric-lab-" + string(n)}, parts...)...)
}
