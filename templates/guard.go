package templates

import (
	"embed"
	"text/template"
)

// Recovery is the program that goes back from an apply that was cut off: a
// copy of the one that applies, since that is not installed yet, or replaced.
const Recovery = "/usr/local/lib/fabric/recover"

// The units that run Recovery.
const (
	WatchUnit   = "fabric-watch.service"   // when the apply's process ends
	RecoverUnit = "fabric-recover.service" // at boot, before dockerd starts
)

//go:embed guard
var guardFS embed.FS

var guardTemplates = template.Must(template.New("guard").Option("missingkey=error").ParseFS(guardFS, "guard/*"))

// Guard returns the unit file of that name, WatchUnit or RecoverUnit, which is
// on a host while an apply is under way.
func Guard(unit string) File {
	content := render(guardTemplates, unit, struct{ Recovery string }{Recovery})
	return File{Path: "/etc/systemd/system/" + unit, Mode: 0o644, Content: content}
}
