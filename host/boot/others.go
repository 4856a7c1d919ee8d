package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/plan"
)

// alsoMadeBy lists the lines of others' files by which a host makes one of
// the fabric's bridges at boot, as FILE:LINE: of ifupdown (interfaces(5)),
// systemd.netdev(5) and netplan(5). What they say otherwise is not looked
// into.
func (r *Resource) alsoMadeBy(dockerBridge string) ([]string, error) {
	if dockerBridge == "" {
		return nil, nil
	}
	names := []string{regexp.QuoteMeta(dockerBridge)}
	for _, name := range plan.Members() {
		names = append(names, regexp.QuoteMeta(name))
	}
	name := "(" + strings.Join(names, "|") + ")"
	var found []string
	for _, kind := range []struct{ files, line string }{
		{"/etc/network/interfaces", `^\s*iface\s+` + name + `\s`},
		{"/etc/network/interfaces.d/*", `^\s*iface\s+` + name + `\s`},
		{"/etc/systemd/network/*.netdev", `^\s*Name\s*=\s*` + name + `\s*$`},
		{"/etc/netplan/*.yaml", `^\s*` + name + `\s*:`},
	} {
		line := regexp.MustCompile(kind.line)
		paths, err := filepath.Glob(r.at(kind.files))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			places, err := r.matching(path, line)
			if err != nil {
				return nil, err
			}
			found = append(found, places...)
		}
	}
	slices.Sort(found)
	return found, nil
}

// matching lists the lines of a file that match.
func (r *Resource) matching(path string, line *regexp.Regexp) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, nil // a dangling link, or nothing that anybody wrote by hand
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found []string
	number := 0
	for text := range strings.Lines(string(data)) {
		number++
		if line.MatchString(text) {
			found = append(found, fmt.Sprintf("%s:%d", strings.TrimPrefix(path, r.root), number))
		}
	}
	return found, nil
}
