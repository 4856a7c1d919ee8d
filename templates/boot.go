// Package templates is what the fabric writes in other programs' languages:
// the units, drop-ins and rules of a host, as text.
package templates

import (
	"bytes"
	"embed"
	"text/template"
)

// Program is where the units expect the fabric's own program.
const Program = "/usr/local/lib/fabric/fabric"

// HostFile is where the program finds what to restore at boot.
const HostFile = "/etc/fabric/host.json"

// Marker is the first line of every file of Boot but HostFile, which is JSON
// and has no comments.
const Marker = "# Written by fabric"

// File is a whole file that the fabric owns.
type File struct {
	Path    string `json:"path"`
	Mode    uint32 `json:"mode"` // permission bits
	Content string `json:"content"`
}

// BootParams is what differs from one host's boot files to another's.
type BootParams struct {
	HostFile []byte   // the content of HostFile, JSON
	Switches []string // the bridges of Open vSwitch whose links come and go
}

//go:embed boot
var bootFS embed.FS

var bootTemplates = template.Must(template.New("boot").Option("missingkey=error").ParseFS(bootFS, "boot/*"))

// bootFiles says which template a path is made from; "" is HostFile's content
// as it is. Sorted by path.
var bootFiles = []struct{ path, template string }{
	{HostFile, ""},
	{"/etc/systemd/system/docker.service.d/50-fabric.conf", "docker.conf"},
	{"/etc/systemd/system/fabric-rejoin.service", "fabric-rejoin.service"},
	{"/etc/systemd/system/fabric-restore.service", "fabric-restore.service"},
	{"/etc/udev/rules.d/90-fabric.rules", "udev.rules"},
}

// Boot returns the files that make a host come back into its fabric, sorted
// by path.
func Boot(p BootParams) []File {
	values := struct {
		Program  string
		Switches []string
	}{Program, p.Switches}
	files := make([]File, 0, len(bootFiles))
	for _, f := range bootFiles {
		content := string(p.HostFile)
		if f.template != "" {
			content = render(bootTemplates, f.template, values)
		}
		files = append(files, File{Path: f.path, Mode: 0o644, Content: content})
	}
	return files
}

// render executes a template of this package's own.
func render(t *template.Template, name string, values any) string {
	var b bytes.Buffer
	// A bytes.Buffer takes everything and the values are plain strings, so
	// what can fail here is a template at fault, which the package's tests
	// would have shown.
	if err := t.ExecuteTemplate(&b, name, values); err != nil {
		panic(err)
	}
	return b.String()
}

// Paths returns the path of every file that Boot ever makes, sorted.
func Paths() []string {
	paths := make([]string, 0, len(bootFiles))
	for _, f := range bootFiles {
		paths = append(paths, f.path)
	}
	return paths
}
