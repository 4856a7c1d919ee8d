package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	specFile       = "lab.yaml"
	defaultRelease = "trixie"
	defaultMTU     = 1500
	defaultDriver  = Nspawn
)

// A Spec says which hosts a lab has and where they stand in its underlay.
type Spec struct {
	// Name tells the lab from others on this machine.
	Name string `json:"name"`
	// Underlay is the IPv4 subnet that all hosts and the controller share.
	Underlay netip.Prefix `json:"underlay"`
	// MTU of the underlay, in bytes of IP packet.
	MTU int `json:"mtu"`
	// Patience is the time a host has to boot or to go down; 0 leaves that to its
	// driver.
	Patience time.Duration `json:"patience_ns,omitempty"`
	// Hosts, sorted by name.
	Hosts []Host `json:"hosts"`
}

// A Host is one machine of a lab.
type Host struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	// Release is the codename of the Debian release it runs.
	Release string `json:"release"`
	// Driver is what runs it: Nspawn or QEMU.
	Driver string `json:"driver"`
}

// image names what the host boots from.
func (h Host) image() string { return imageName(h.Release, h.Driver) }

// Controller returns the address from which hosts are reached: the last usable
// one of the underlay.
func (s Spec) Controller() netip.Addr { return lastAddr(s.Underlay).Prev() }

func (s Spec) host(name string) (Host, error) {
	var known []string
	for _, h := range s.Hosts {
		if h.Name == name {
			return h, nil
		}
		known = append(known, h.Name)
	}
	return Host{}, fmt.Errorf("lab %s has no host %q, it has %s", s.Name, name, strings.Join(known, ", "))
}

type rawSpec struct {
	Underlay string             `yaml:"underlay"`
	MTU      *int               `yaml:"mtu"`
	Hosts    map[string]rawHost `yaml:"hosts"`
}

type rawHost struct {
	Address string `yaml:"address"`
	Release string `yaml:"release"`
	Driver  string `yaml:"driver"`
}

// Load reads lab.yaml in a scenario's folder. The lab takes the folder's name.
// The error lists everything that is wrong, each with its place in the file.
func Load(dir string) (Spec, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Spec{}, err
	}
	path := filepath.Join(dir, specFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Spec{}, fmt.Errorf("%s is not a scenario's folder: it holds no %s", dir, specFile)
	}
	if err != nil {
		return Spec{}, err
	}
	return parse(path, filepath.Base(abs), content)
}

func parse(path, name string, content []byte) (Spec, error) {
	var raw rawSpec
	if err := yaml.UnmarshalWithOptions(content, &raw, yaml.Strict()); err != nil {
		return Spec{}, fmt.Errorf("%s:%w", path, err)
	}
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return Spec{}, fmt.Errorf("%s:%w", path, err)
	}
	spec, problems := raw.validate()
	spec.Name = name
	var errs []error
	if err := validateName(name); err != nil {
		errs = append(errs, err)
	}
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s:%s%s: %s", path, position(file, p.field), p.field, p.message))
	}
	if len(errs) > 0 {
		return Spec{}, errors.Join(errs...)
	}
	return spec, nil
}

// position returns "LINE:COLUMN: " of a field, or "" for one that is not there.
func position(file *ast.File, field string) string {
	path, err := yaml.PathString("$." + field)
	if err != nil {
		return ""
	}
	node, err := path.FilterFile(file)
	if err != nil || node.GetToken() == nil {
		return ""
	}
	at := node.GetToken().Position
	return fmt.Sprintf("%d:%d: ", at.Line, at.Column)
}

type problem struct{ field, message string }

// A lab's name becomes part of a host name (64 characters at most, hostname(7))
// and of names of network namespaces.
var labName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func validateName(name string) error {
	if !labName.MatchString(name) || strings.HasSuffix(name, "-") {
		return fmt.Errorf("%q cannot name a lab: take up to 40 lower-case letters, digits and inner hyphens", name)
	}
	return nil
}

// A host's name becomes part of an interface's name, p-NAME, which Linux limits
// to 15 characters. Without hyphens the last one in lab-NAME-HOST is where the
// host's name begins.
var hostName = regexp.MustCompile(`^[a-z][a-z0-9]{0,12}$`)

func (raw rawSpec) validate() (Spec, []problem) {
	var problems []problem
	report := func(field, format string, args ...any) {
		problems = append(problems, problem{field, fmt.Sprintf(format, args...)})
	}

	spec := Spec{MTU: defaultMTU}
	underlay, err := netip.ParsePrefix(raw.Underlay)
	switch {
	case err != nil || !underlay.Addr().Is4():
		report("underlay", "%q is not an IPv4 subnet such as 192.0.2.0/24", raw.Underlay)
	case underlay != underlay.Masked():
		report("underlay", "%s has host bits set: did you mean %s?", underlay, underlay.Masked())
	case underlay.Bits() < 8 || underlay.Bits() > 29:
		report("underlay", "%s is no fit size: take /8 to /29", underlay)
	default:
		spec.Underlay = underlay
	}
	if raw.MTU != nil {
		spec.MTU = *raw.MTU
	}
	// RFC 791 asks every link for 68 bytes, but docker and ssh are no use below
	// the 576 that every host takes; 65535 is an IP packet's limit.
	if spec.MTU < 576 || spec.MTU > 65535 {
		report("mtu", "%d is outside 576 to 65535", spec.MTU)
	}
	if len(raw.Hosts) == 0 {
		report("hosts", "a lab needs at least one host")
	}

	owner := map[netip.Addr]string{}
	if spec.Underlay.IsValid() {
		owner[spec.Underlay.Addr()] = "the subnet itself"
		owner[lastAddr(spec.Underlay)] = "broadcast"
		owner[spec.Controller()] = "the controller"
	}
	for _, name := range sortedKeys(raw.Hosts) {
		field := "hosts." + name
		host := Host{Name: name, Release: defaultRelease, Driver: defaultDriver}
		if !hostName.MatchString(name) {
			report(field, "cannot name a host: take up to 13 lower-case letters and digits, a letter first")
		}
		if name == underlayName || name == controllerName {
			report(field, "the name is the lab's own: take another")
		}
		if release := raw.Hosts[name].Release; release != "" {
			host.Release = release
		}
		if driver := raw.Hosts[name].Driver; driver != "" {
			host.Driver = driver
		}
		if err := validateDriver(host.Driver); err != nil {
			report(field+".driver", "%v", err)
		} else if _, err := recipeOf(host.Release, host.Driver); err != nil {
			report(field+".release", "%v", err)
		}
		host.Address, err = netip.ParseAddr(raw.Hosts[name].Address)
		switch {
		case err != nil:
			report(field+".address", "%q is not an IP address", raw.Hosts[name].Address)
		case spec.Underlay.IsValid() && !spec.Underlay.Contains(host.Address):
			report(field+".address", "%s is outside the underlay %s", host.Address, spec.Underlay)
		case owner[host.Address] != "":
			report(field+".address", "%s is taken: %s", host.Address, owner[host.Address])
		default:
			owner[host.Address] = name
		}
		spec.Hosts = append(spec.Hosts, host)
	}
	return spec, problems
}

func lastAddr(p netip.Prefix) netip.Addr {
	last := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(last)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
