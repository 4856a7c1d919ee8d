// Package kmod says which kernel modules Open vSwitch's datapath in the
// kernel lacks on a host, why, and what brings them. It only reads files, and
// but a few where all modules are there.
package kmod

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/internal/osrelease"
	"github.com/ovsfabric/fabric/plan"
)

// tunnelModules are what makes the devices of the kernel's tunnels, by the
// tunnel's type (vport_type_to_kind in Open vSwitch's lib/dpif-netlink-rtnl.c,
// and the modules' aliases rtnl-link-KIND). The modules vport-* are not
// needed: they are what older releases fall back on, and need these too.
var tunnelModules = map[string]string{"vxlan": "vxlan", "gre": "ip_gre", "geneve": "geneve"}

// Kernel is the running kernel and where its files are.
type Kernel struct {
	Root    string // of the file system that has proc, sys, lib and etc
	Release string // uname(2)'s
}

// Running is the kernel that this process runs on.
func Running() (Kernel, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Kernel{}, fmt.Errorf("ask for the kernel's release: %w", err)
	}
	return Kernel{Root: "/", Release: unix.ByteSliceToString(name.Release[:])}, nil
}

// Obstacles says what keeps the kernel's datapath from carrying tunnels of a
// type. A tunnel's module may be there only when the first tunnel is made;
// loaded says whether the kernel has Open vSwitch's own, which it loads when
// it is asked.
func (k Kernel) Obstacles(loaded bool, tunnel string) ([]plan.Obstacle, error) {
	var found []plan.Obstacle
	if !loaded {
		o, err := k.lack("openvswitch")
		if err != nil {
			return nil, err
		}
		if o == nil {
			o = &plan.Obstacle{
				What: "the kernel module openvswitch is installed, and the kernel has not loaded it",
				Cure: "modprobe openvswitch loads it or says why it cannot be; see also dmesg",
			}
		}
		found = append(found, *o)
	}
	if module := tunnelModules[tunnel]; module != "" {
		o, err := k.lack(module)
		if err != nil {
			return nil, err
		}
		if o != nil {
			found = append(found, *o)
		}
	}
	return found, nil
}

// lack says why a module is not there and cannot be loaded, nil if it can be.
// A tunnel's module that is built in has a folder in sysfs as well, for it has
// a parameter.
func (k Kernel) lack(module string) (*plan.Obstacle, error) {
	if k.has("sys/module", module) {
		return nil, nil
	}
	if !k.has("proc/modules") {
		return &plan.Obstacle{
			What: fmt.Sprintf("the running kernel, %s, has no %s, and can load no modules", k.Release, module),
			Cure: k.otherKernel(),
		}, nil
	}
	needed, err := k.dependencies(module)
	if errors.Is(err, fs.ErrNotExist) {
		return &plan.Obstacle{
			What: fmt.Sprintf("the kernel module %s cannot be loaded: %s has no modules of the running kernel", module, k.modules()),
			Cure: fmt.Sprintf("reboot, into the kernel that is installed; or apt-get install %s%s; in a container, modprobe %s on the machine it runs on",
				k.packagePrefix(), k.Release, module),
		}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the kernel module %s: %w", module, err)
	}
	if needed == nil {
		return &plan.Obstacle{
			What: fmt.Sprintf("the kernel module %s is not installed: %s does not have it", module, k.modules()),
			Cure: k.install(module),
		}, nil
	}
	return k.barred(module, needed), nil
}

// dependencies returns a module and those that it needs, as modules.dep(5) has
// them; nil if the module is not there.
func (k Kernel) dependencies(module string) ([]string, error) {
	f, err := os.Open(filepath.Join(k.Root, k.modules(), "modules.dep"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		path, rest, _ := strings.Cut(lines.Text(), ":")
		if name(path) != module {
			continue
		}
		needed := []string{module}
		for path := range strings.FieldsSeq(rest) {
			needed = append(needed, name(path))
		}
		return needed, nil
	}
	return nil, lines.Err()
}

// name is that of the module in a file, such as kernel/net/x-y.ko.xz, as the
// kernel has it.
func name(path string) string {
	file, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.ReplaceAll(file, "-", "_")
}

// install says where a module of the running kernel comes from. Ubuntu has
// two packages of modules. Debian's kernels, those for clouds too, have all.
func (k Kernel) install(module string) string {
	if k.distribution() == "ubuntu" {
		return fmt.Sprintf("apt-get install linux-modules-extra-%s, then modprobe %s", k.Release, module)
	}
	return k.otherKernel()
}

func (k Kernel) otherKernel() string {
	switch k.distribution() {
	case "ubuntu":
		return "boot a kernel that has it, such as Ubuntu's own: apt-get install linux-image-generic"
	case "debian":
		return "boot a kernel that has it, such as Debian's own: apt-get install linux-image-" + runtime.GOARCH
	}
	return "boot a kernel that has it"
}

// packagePrefix is how the package with a kernel's modules begins.
func (k Kernel) packagePrefix() string {
	if k.distribution() == "ubuntu" {
		return "linux-modules-"
	}
	return "linux-image-"
}

// distribution is ID of os-release(5), or "".
func (k Kernel) distribution() string {
	data, err := os.ReadFile(filepath.Join(k.Root, "etc/os-release"))
	if err != nil {
		return ""
	}
	return osrelease.Parse(string(data))["ID"]
}

func (k Kernel) modules() string { return filepath.Join("/lib/modules", k.Release) }

func (k Kernel) has(path ...string) bool {
	_, err := os.Stat(filepath.Join(k.Root, filepath.Join(path...)))
	return err == nil
}

// missing leaves out the modules that are in the kernel already.
func (k Kernel) missing(modules []string) []string {
	return slices.DeleteFunc(slices.Clone(modules), func(m string) bool { return k.has("sys/module", m) })
}
