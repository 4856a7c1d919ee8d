package lab

import (
	"fmt"
	"regexp"
	"strings"
)

// An ArchiveError means that Debian's archive does not have what an image needs,
// cannot be reached, or is in a state that apt refuses. The release that is still
// being made moves, and may be whole again a day later.
type ArchiveError struct {
	Release string
	Said    string // by apt, its errors
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("Debian's archive cannot give what a host of %s needs now, and nothing here can help that: %s: try again later, or let the hosts run another release",
		e.Release, e.Said)
}

// Lines by which mmdebstrap(1) tells that apt has failed, and what it adds.
var (
	aptFailed = regexp.MustCompile(`(?m)^E: .*\bapt-get .* failed$`)
	aptsOwn   = regexp.MustCompile(`(?m)^E: (.*)$`)
)

// archiveError is the failure of apt that mmdebstrap's output tells of, nil if it
// tells of none.
func archiveError(release, output string) error {
	if !aptFailed.MatchString(output) {
		return nil
	}
	var said []string
	for _, line := range aptsOwn.FindAllStringSubmatch(output, -1) {
		if !strings.Contains(line[1], "apt-get ") && !strings.HasPrefix(line[1], "mmdebstrap ") {
			said = append(said, line[1])
		}
	}
	return &ArchiveError{Release: release, Said: strings.Join(said, "; ")}
}
