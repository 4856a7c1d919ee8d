package topology

import (
	"fmt"
	"strings"

	"github.com/ovsfabric/fabric/internal/printable"
)

// Problem is one thing wrong with a fabric file, and where.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0: the file as a whole
	Path         string // as hosts.h3.range; empty: the file as a whole
	Message      string
	Hint         string // what would help; may be empty
}

// String prints the problem on one line as compilers do, "fabric.yaml:12:5: hosts.h3.range: …".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	for _, s := range []string{p.Path, p.Message} {
		if s != "" && b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(printable.Line(s)) // keys of the file may be any text
	}
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems are all that is wrong with a fabric file, in the order of their places in it.
type Problems []Problem

// Error prints one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}
