package plan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/topology"
)

// unfit is a version that cannot do what a file asks for, and what helps.
type unfit struct {
	why, cure string
	// meets tells whether a host, and what is wanted of it, are affected.
	meets func(datapath string, f Facts) bool
}

// unfits lists them. What a version's own documentation says is cited.
var unfits = []unfit{
	{
		// Interface.mtu_request came with 2.6 (NEWS of Open vSwitch).
		why: "the fabric needs Open vSwitch 2.6, which can be told an MTU", cure: "upgrade the package openvswitch-switch",
		meets: func(_ string, f Facts) bool { return before(f.OVSVersion, 2, 6) },
	},
	{
		// NEWS of Open vSwitch 4.0.
		why: "Open vSwitch 4.0 and later make tunnels in the kernel only from Linux 4.3 on", cure: "boot a newer kernel, or set datapath: netdev",
		meets: func(datapath string, f Facts) bool {
			return datapath == string(topology.DatapathSystem) && from(f.OVSVersion, 4, 0) && before(f.Kernel, 4, 3)
		},
	},
}

// versionObstacles tells which versions on a host are known to break what the file
// asks for.
func versionObstacles(datapath string, f Facts) []Obstacle {
	var found []Obstacle
	for _, u := range unfits {
		if u.meets(datapath, f) {
			found = append(found, Obstacle{
				What: fmt.Sprintf("Open vSwitch %s on kernel %s: %s", f.OVSVersion, f.Kernel, u.why),
				Cure: u.cure,
			})
		}
	}
	return found
}

// before and from compare a version as its program tells it, such as 3.5.0 or
// 6.12.41+deb13-amd64. Neither holds for a version that cannot be read.
func before(version string, major, minor int) bool {
	a, b, known := release(version)
	return known && (a < major || a == major && b < minor)
}

func from(version string, major, minor int) bool {
	_, _, known := release(version)
	return known && !before(version, major, minor)
}

// release reads the first two numbers of a version.
func release(version string) (major, minor int, known bool) {
	parts := strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 || !strings.HasPrefix(version, parts[0]+".") {
		return 0, 0, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(parts[1])
	return major, minor, err == nil
}
