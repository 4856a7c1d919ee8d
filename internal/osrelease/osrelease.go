// Package osrelease reads what os-release(5) says of a system.
package osrelease

import "strings"

// Parse returns the assignments of a file by their names, quotes taken off.
func Parse(content string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(content) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[key] = strings.Trim(value, `"'`)
		}
	}
	return fields
}
