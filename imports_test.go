// Package fabric_test keeps the house in order.
package fabric_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ovsfabric/fabric/"

// rooms says what each package may import of the module's own, itself left
// out. docs/architecture.md tells why.
var rooms = map[string][]string{
	"internal/build":             {},
	"internal/natural":           {},
	"internal/osrelease":         {},
	"internal/patience":          {},
	"internal/printable":         {},
	"internal/sshword":           {},
	"topology":                   {"internal/natural", "internal/printable", "internal/sshword"},
	"ipam":                       {"internal/natural"},
	"templates":                  {},
	"plan":                       {"topology", "ipam", "templates", "internal/printable"},
	"picture":                    {"plan"},
	"lab":                        {"internal/natural", "internal/osrelease"},
	"host/command":               {},
	"host/file":                  {},
	"host/kmod":                  {"plan", "internal/osrelease"},
	"host/wire":                  {"plan", "internal/printable"},
	"ovsdb/vswitch":              {},
	"ovsdb/ovsdbtest":            {},
	"ovsdb":                      {"plan", "host/kmod", "host/wire", "ovsdb/vswitch", "internal/patience"},
	"dockercfg":                  {"plan", "host/command", "host/file", "internal/patience"},
	"host/link":                  {"plan"},
	"host/boot":                  {"plan", "templates", "host/command", "host/file", "internal/build", "internal/patience"},
	"host/probe":                 {"plan", "host/wire", "internal/patience"},
	"host":                       {"plan", "host/wire", "host/file", "internal/osrelease", "internal/patience", "internal/printable"},
	"operator/remote":            {"plan", "host/wire", "internal/build", "internal/patience", "internal/printable", "internal/sshword"},
	"operator/rollout":           {"plan", "host/wire", "internal/patience"},
	"operator/verify":            {"plan", "topology", "host/wire", "internal/patience"},
	"operator/verify/verifytest": {"operator/verify", "host/wire"},
	"scenarios":                  {},
	"scenarios/frames":           {},
}

// pure lists the packages that are functions of their arguments, and impure
// what they may not import: whatever has a clock, chance, files or a network
// in it.
var (
	pure   = []string{"topology", "ipam", "templates", "plan", "picture", "internal/natural", "internal/osrelease", "internal/printable", "internal/sshword"}
	impure = []string{"os", "os/exec", "net/http", "time", "math/rand", "math/rand/v2", "crypto/rand", "syscall", "path/filepath", "io/ioutil", "context"}
)

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-tags", "privileged", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		room, own := strings.CutPrefix(p.ImportPath, module)
		if !own || room == "cmd/fabric" { // the command may import everything
			continue
		}
		allowed, known := rooms[room]
		if !known {
			t.Errorf("package %s has no place in the house: give it one here and in docs/architecture.md", room)
			continue
		}
		for _, imported := range p.Imports {
			if other, own := strings.CutPrefix(imported, module); own && !slices.Contains(allowed, other) {
				t.Errorf("%s may not import %s", room, other)
			}
		}
	}
}

func TestPurePackagesReachNothingOutside(t *testing.T) {
	for _, p := range packages(t) {
		room, _ := strings.CutPrefix(p.ImportPath, module)
		if !slices.Contains(pure, room) {
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(impure, imported) {
				t.Errorf("%s imports %s", room, imported)
			}
		}
	}
}
