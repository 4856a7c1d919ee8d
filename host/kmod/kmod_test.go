package kmod

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const release = "6.1.0-56-amd64"

// dep is an excerpt of a Debian kernel's modules.dep.
const dep = `kernel/drivers/net/vxlan/vxlan.ko: kernel/net/ipv6/ip6_udp_tunnel.ko kernel/net/ipv4/udp_tunnel.ko
kernel/net/ipv4/ip_gre.ko.xz: kernel/net/ipv4/gre.ko.xz kernel/net/ipv4/ip_tunnel.ko.xz
kernel/net/openvswitch/openvswitch.ko: kernel/net/nsh/nsh.ko kernel/net/netfilter/nf_conncount.ko
kernel/net/openvswitch/vport-vxlan.ko: kernel/drivers/net/vxlan/vxlan.ko kernel/net/openvswitch/openvswitch.ko
`

// host is a kernel that has no module loaded and those of dep installed, with
// the given files beside, by their paths; one without content is taken away.
func host(t *testing.T, files map[string]string) Kernel {
	t.Helper()
	all := map[string]string{
		"/proc/modules":                              "overlay 1 0 - Live 0x0\n",
		"/proc/cmdline":                              "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet\n",
		"/proc/sys/kernel/modules_disabled":          "0\n",
		"/etc/os-release":                            "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n",
		"/lib/modules/" + release + "/modules.dep":   dep,
		"/etc/modprobe.d/blacklist.conf":             "# nothing of ours\nblacklist pcspkr\ninstall sctp /bin/false\n",
		"/sys/module/ip_tunnel/initstate":            "live\n",
		"/usr/lib/modprobe.d/README":                 "blacklist vxlan\n",
		"/lib/modules/5.10.0-1-amd64/modules.dep":    "kernel/drivers/net/geneve.ko:\n",
		"/lib/modules/" + release + "/modules.order": "kernel/drivers/net/geneve.ko\n",
	}
	for path, content := range files {
		all[path] = content
	}
	k := Kernel{Root: t.TempDir(), Release: release}
	for path, content := range all {
		if content == "" {
			continue
		}
		path = filepath.Join(k.Root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func TestWhatCanBeLoadedIsNoObstacle(t *testing.T) {
	for _, tt := range []struct {
		name, tunnel string
		files        map[string]string
	}{
		{"VXLAN", "vxlan", nil},
		{"GRE, in a compressed module", "gre", nil},
		{"a module that is loaded, or built in", "geneve", map[string]string{"/sys/module/geneve/parameters/log_ecn_error": "N\n"}},
		{"loaded before loading was forbidden", "vxlan", map[string]string{
			"/sys/module/vxlan/initstate": "live\n", "/proc/sys/kernel/modules_disabled": "1\n", "/etc/modprobe.d/x.conf": "blacklist vxlan\n",
		}},
		{"a blacklist of what the module needs", "vxlan", map[string]string{"/etc/modprobe.d/x.conf": "blacklist udp_tunnel\n"}},
		{"an install command that loads it", "vxlan", map[string]string{
			"/etc/modprobe.d/x.conf": "install vxlan /sbin/modprobe --ignore-install vxlan && logger vxlan\n",
		}},
		{"a line that a file of the same name hides", "vxlan", map[string]string{
			"/etc/modprobe.d/x.conf": "# mended\n", "/usr/lib/modprobe.d/x.conf": "blacklist vxlan\n",
		}},
		{"a command for a dependency that is loaded", "gre", map[string]string{"/etc/modprobe.d/x.conf": "install ip_tunnel /bin/true\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := host(t, tt.files).Obstacles(true, tt.tunnel)
			if err != nil || len(found) > 0 {
				t.Errorf("obstacles %v, error %v; want none", found, err)
			}
		})
	}
}

func TestWhyAModuleIsNotThere(t *testing.T) {
	const blacklist = "/etc/modprobe.d/x.conf"
	for _, tt := range []struct {
		name, tunnel string
		files        map[string]string
		what, cure   string // in What and Cure
	}{
		{
			"not installed on Debian", "geneve", nil,
			"geneve is not installed: /lib/modules/" + release, "apt-get install linux-image-" + runtime.GOARCH,
		},
		{
			"not installed on Ubuntu", "geneve", map[string]string{"/etc/os-release": "ID=ubuntu\n"},
			"geneve is not installed", "apt-get install linux-modules-extra-" + release + ", then modprobe geneve",
		},
		{
			"a kernel that was removed or replaced", "vxlan", map[string]string{"/lib/modules/" + release + "/modules.dep": ""},
			"/lib/modules/" + release + " has no modules of the running kernel", "reboot, into the kernel that is installed; or apt-get install linux-image-" + release,
		},
		{
			"a kernel without modules", "gre", map[string]string{"/proc/modules": ""},
			release + ", has no ip_gre, and can load no modules", "boot a kernel that has it",
		},
		{
			"blacklisted", "vxlan", map[string]string{blacklist: "\n  blacklist\tvxlan # we do not use it\n"},
			`/etc/modprobe.d/x.conf says "blacklist`, "take that line out, then modprobe vxlan",
		},
		{
			"blacklisted by another spelling", "gre", map[string]string{"/usr/lib/modprobe.d/y.conf": "blacklist ip-gre\n"},
			`/usr/lib/modprobe.d/y.conf says "blacklist ip-gre"`, "modprobe ip_gre",
		},
		{
			"forbidden by an install command", "vxlan", map[string]string{blacklist: "install vxlan \\\n /bin/false\n"},
			`says "install vxlan   /bin/false"`, "take that line out",
		},
		{
			"a dependency forbidden", "gre", map[string]string{blacklist: "install gre /bin/true\n"},
			`ip_gre is not loaded: /etc/modprobe.d/x.conf says "install gre /bin/true"`, "take that line out, then modprobe ip_gre",
		},
		{
			"blacklisted at boot", "vxlan", map[string]string{"/proc/cmdline": "ro modprobe.blacklist=floppy,vxlan quiet\n"},
			"command line says modprobe.blacklist=floppy,vxlan", "update-grub",
		},
		{
			"a dependency forbidden at boot", "vxlan", map[string]string{"/proc/cmdline": "module_blacklist=udp_tunnel\n"},
			"command line says module_blacklist=udp_tunnel", "update-grub",
		},
		{
			"loading switched off", "vxlan", map[string]string{"/proc/sys/kernel/modules_disabled": "1\n"},
			"kernel.modules_disabled is 1", "a line vxlan in /etc/modules-load.d/fabric.conf",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := host(t, tt.files).Obstacles(true, tt.tunnel)
			if err != nil || len(found) != 1 || !strings.Contains(found[0].What, tt.what) || !strings.Contains(found[0].Cure, tt.cure) {
				t.Errorf("obstacles %+v, error %v; want one of %q with the cure %q", found, err, tt.what, tt.cure)
			}
		})
	}
}

func TestOpenvSwitchsOwnModuleHasToBeLoaded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		what  string
	}{
		{"installed", nil, "openvswitch is installed, and the kernel has not loaded it"},
		{"not installed", map[string]string{"/lib/modules/" + release + "/modules.dep": "kernel/drivers/net/vxlan/vxlan.ko:\n"}, "openvswitch is not installed"},
		{"blacklisted", map[string]string{"/etc/modprobe.d/x.conf": "blacklist openvswitch\n"}, `"blacklist openvswitch"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := host(t, tt.files).Obstacles(false, "vxlan")
			if err != nil || len(found) != 1 || !strings.Contains(found[0].What, tt.what) || found[0].Cure == "" {
				t.Errorf("obstacles %+v, error %v; want one of %q with a cure", found, err, tt.what)
			}
		})
	}
}

func TestBothModulesAreNamed(t *testing.T) {
	found, err := host(t, nil).Obstacles(false, "geneve")
	if err != nil || len(found) != 2 || !strings.Contains(found[1].What, "geneve") {
		t.Errorf("obstacles %+v, error %v; want openvswitch and geneve", found, err)
	}
}

func TestTheRunningKernelIsNamed(t *testing.T) {
	k, err := Running()
	if err != nil || k.Release == "" || strings.ContainsRune(k.Release, 0) || k.Root != "/" {
		t.Errorf("%+v, error %v", k, err)
	}
}
