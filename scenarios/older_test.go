//go:build privileged

package scenarios_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/ovsfabric/fabric/lab"
)

// beforeAccess is the last commit whose fabrics have no access bridges: br0 itself
// is the member of docker0.
const beforeAccess = "746bc778aef2c046a511d9983ba8b41bfd3223ef"

// olderProgram builds fabric as it was at that commit, once for all tests.
var olderProgram = sync.OnceValues(func() (string, error) {
	source := filepath.Join(filepath.Dir(program), "older")
	if err := os.MkdirAll(source, 0o755); err != nil {
		return "", err
	}
	archive := exec.Command("sh", "-c", `git archive "$1" | tar -x -C "$2" && test -e "$2/go.mod"`, "sh", beforeAccess, source)
	archive.Dir = ".."
	out, err := archive.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the source of commit %s, which a shallow clone does not have: %w\n%s", beforeAccess, err, out)
	}
	return filepath.Join(source, "fabric"), build(source, filepath.Join(source, "fabric"), "./cmd/fabric")
})

// older is the world as a fabric without access bridges is applied to it.
func (w *world) older() *world {
	w.t.Helper()
	path, err := olderProgram()
	if err != nil {
		w.t.Fatal(err)
	}
	other := *w
	other.program = path
	return &other
}

// framesProgram builds the program that sends and watches frames, once for all
// tests.
var framesProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(program), "frames")
	return path, build(".", path, "./frames")
})

// install puts a program of this machine onto a host.
func (w *world) install(host, path, to string) {
	w.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	cmd := w.lab.Sh(w.t.Context(), host, "sh", "-c", `cat > "$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1"`, "sh", to)
	cmd.Stdin = f
	if r := runCommand(w.t, cmd); r.exit != 0 {
		w.t.Fatalf("%s: %s: %s", host, to, r.stderr)
	}
}

// build builds a static program from a package below dir.
func build(dir, to, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// switchProgram is where Debian's package has the switch.
const switchProgram = "/usr/lib/openvswitch-switch/ovs-vswitchd"

// runSwitchOf has a host run the ovs-vswitchd of another release, as it does before
// it is upgraded.
func (w *world) runSwitchOf(host, release string) {
	w.t.Helper()
	image, err := lab.Image(w.t.Context(), release, lab.Nspawn, w.t.Output())
	if err != nil {
		w.t.Fatal(err)
	}
	w.on(host, "cp "+switchProgram+" /root/ovs-vswitchd")
	w.install(host, filepath.Join(image, switchProgram), switchProgram)
	w.on(host, "systemctl restart openvswitch-switch")
}

// upgradeSwitch has the host run the ovs-vswitchd of its own release again.
func (w *world) upgradeSwitch(host string) {
	w.t.Helper()
	w.on(host, "mv /root/ovs-vswitchd "+switchProgram+" && systemctl restart openvswitch-switch")
}
