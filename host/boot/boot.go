// Package boot is what makes a host come back into the fabric by itself:
// systemd units, drop-ins and the installed program.
package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ovsfabric/fabric/host/command"
	"github.com/ovsfabric/fabric/internal/build"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/templates"
)

// Program is the path of the installed fabric program, which the units run.
const Program = templates.Program

// Resource is the boot part of a host.
type Resource struct {
	root    string
	running string // path of the program that is running
	booting bool
	run     func(ctx context.Context, name string, args ...string) ([]byte, error)
}

// New returns the boot part of the host whose file system is at root; "" is
// this host's own. booting says that the caller is a unit that systemd starts
// before the restore unit, which it must not wait for.
func New(root string, booting bool) *Resource {
	return &Resource{root: root, running: "/proc/self/exe", booting: booting, run: command.Run}
}

// Name is the word for this part in messages.
func (*Resource) Name() string { return "boot" }

// at is where path lies in the host's file system.
func (r *Resource) at(path string) string { return filepath.Join(r.root, path) }

// Observe reads the fabric's files and tells the program's build. A file of
// somebody else in one of their places is an obstacle.
func (r *Resource) Observe(ctx context.Context, q plan.Query, o *plan.Observation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	had, foreign, err := r.read()
	if err != nil {
		return err
	}
	o.State.Boot = nil
	if had.Program != "" || len(had.Files) > 0 {
		o.State.Boot = &had
	}
	if o.Facts.AlsoMadeBy, err = r.alsoMadeBy(q.DockerBridge); err != nil {
		return err
	}
	for _, path := range foreign {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: path + " exists and was not written by fabric",
			Cure: "move it away: fabric needs a file of that name",
		})
	}
	// The test of sd_booted(3).
	if _, err := os.Stat(r.at("/run/systemd/system")); err != nil {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: "systemd does not run this host",
			Cure: "use a host with systemd: fabric needs it to start Docker after the bridge",
		})
	}
	return nil
}

// read returns what is there of the fabric's, and the paths at which
// something else is.
func (r *Resource) read() (had plan.Boot, foreign []string, err error) {
	if had.Program, err = build.ID(r.at(Program)); err != nil {
		return had, nil, err
	}
	for _, path := range templates.Paths() {
		f, err := readFile(r.at(path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errForeign):
			foreign = append(foreign, path)
		case err != nil:
			return had, nil, err
		default:
			f.Path = path
			had.Files = append(had.Files, f)
		}
	}
	return had, foreign, nil
}

// errForeign is a file that the fabric did not write.
var errForeign = errors.New("not written by fabric")

// maxFile bounds what is read of a file, in bytes; ours are far smaller.
const maxFile = 64 << 10

// readFile returns the mode and content of a file that the fabric wrote.
func readFile(path string) (plan.File, error) {
	// The kind is looked at before the file is opened, which would wait for a
	// FIFO's writer.
	info, err := os.Stat(path)
	if err != nil {
		return plan.File{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return plan.File{}, errForeign
	}
	f, err := os.Open(path)
	if err != nil {
		return plan.File{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return plan.File{}, fmt.Errorf("read %s: %w", path, err)
	}
	if !isOurs(path, data) {
		return plan.File{}, errForeign
	}
	return plan.File{Mode: uint32(info.Mode().Perm()), Content: string(data)}, nil
}

// isOurs looks for the marker that templates.Boot puts into each file. JSON
// has no comments: there it is the fabric's name.
func isOurs(path string, data []byte) bool {
	if filepath.Ext(path) == ".json" {
		var v struct {
			Fabric string `json:"fabric"`
		}
		return json.Unmarshal(data, &v) == nil && v.Fabric != ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return line == templates.Marker
}
