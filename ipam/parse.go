package ipam

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hostName is a DNS label in lower case (RFC 1123 section 2.1).
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseLock reads a lock file. The error has all that is wrong with it, one "fabric.lock:3: …" a line. Empty data is the zero
// Lock: the fabric is new.
func ParseLock(filename string, data []byte) (Lock, error) {
	p := lockParser{file: filename}
	for i, line := range strings.Split(string(data), "\n") {
		p.line = i + 1
		if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			p.statement(fields)
		}
	}
	p.checkWhole()
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
		errs := make([]error, len(p.problems))
		for i, problem := range p.problems {
			errs[i] = fmt.Errorf("%s:%d: %s", p.file, problem.line, problem.message)
		}
		return Lock{}, errors.Join(errs...)
	}
	return Lock{Network: p.network, Hosts: p.entries("host"), Removed: p.entries("removed")}, nil
}

type lockParser struct {
	file       string
	line       int
	version    bool
	conflict   bool
	network    netip.Prefix
	statements []entryLine
	problems   []problem
}

type entryLine struct {
	Entry
	kind string
	line int
}

type problem struct {
	line    int
	message string
}

func (p *lockParser) errorf(line int, format string, args ...any) {
	p.problems = append(p.problems, problem{line, fmt.Sprintf(format, args...)})
}

func (p *lockParser) statement(fields []string) {
	switch word := fields[0]; {
	case conflictMarker(word):
		if !p.conflict {
			p.errorf(p.line, `a merge conflict: keep one of the two sides as it is, delete the marker lines (<<<<<<<, =======, >>>>>>>) and run "fabric apply", which adds what the other side had`)
		}
		p.conflict = true
	case word == "version":
		if len(fields) != 2 || fields[1] != "1" {
			p.errorf(p.line, `this fabric reads "version 1" of the lock, not %q: use the fabric that wrote it, or a later one`, strings.Join(fields, " "))
		}
		p.version = true
	case !p.version && len(p.problems) == 0:
		p.errorf(p.line, `"version 1" must come first: this is not a fabric lock file, or its beginning is lost; take it from version control`)
		p.version = true
	case word == "network":
		p.readNetwork(fields[1:])
	case word == "host", word == "removed":
		p.readEntry(word, fields[1:])
	default:
		p.errorf(p.line, "unknown statement %q: a line begins with version, network, host or removed", word)
	}
}

// conflictMarker tells whether a line that begins with word is what git leaves around the two sides of a conflict.
func conflictMarker(word string) bool {
	return slices.Contains([]string{"<<<<<<<", "|||||||", "=======", ">>>>>>>"}, word[:min(7, len(word))])
}

func (p *lockParser) readNetwork(args []string) {
	if p.network.IsValid() {
		p.errorf(p.line, "the network is given twice")
		return
	}
	if len(args) != 1 {
		p.errorf(p.line, `network wants one prefix, as in "network 172.17.0.0/16"`)
		return
	}
	prefix, err := readPrefix(args[0])
	if err != nil {
		p.errorf(p.line, "network: %v", err)
		return
	}
	p.network = prefix
}

func (p *lockParser) readEntry(kind string, args []string) {
	if len(args) == 0 || !hostName.MatchString(args[0]) {
		p.errorf(p.line, "%s wants the name of a host, in lower case letters, digits and dashes", kind)
		return
	}
	e := entryLine{Entry: Entry{Name: args[0]}, kind: kind, line: p.line}
	seen := map[string]bool{}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		if seen[key] {
			p.errorf(p.line, "%s: %s is given twice", e.Name, key)
			return
		}
		seen[key] = true
		if err := e.set(key, value); err != nil {
			p.errorf(p.line, "%s: %v", e.Name, err)
			return
		}
	}
	if e.ID == 0 || !e.Range.IsValid() {
		p.errorf(p.line, "%s: id= and range= are both needed", e.Name)
		return
	}
	if e.Address.IsValid() && !hosts(e.Range, e.Address) {
		p.errorf(p.line, "%s: no host of range %s can have the address %s", e.Name, e.Range, e.Address)
		return
	}
	p.statements = append(p.statements, e)
}

func (e *entryLine) set(key, value string) (err error) {
	switch {
	case key == "id":
		e.ID, err = strconv.Atoi(value)
		if err != nil || e.ID < 1 || e.ID > MaxID {
			return fmt.Errorf("id %q is not a number from 1 to %d", value, MaxID)
		}
	case key == "range":
		e.Range, err = readPrefix(value)
	case key == "address":
		if e.Address, err = netip.ParseAddr(value); err != nil || !e.Address.Is4() {
			return fmt.Errorf("address %q is not an IPv4 address", value)
		}
	case key == "ssh" && value != "":
		e.SSH = value
	case key == "torn-down" && e.kind == "removed" && (value == "yes" || value == "no"):
		e.TornDown = value == "yes"
	default:
		return fmt.Errorf("%s=%s means nothing here", key, value)
	}
	return err
}

func readPrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address range, as 172.17.0.0/18", s)
	}
	if !prefix.Addr().Is4() || prefix.Bits() > minRange {
		return netip.Prefix{}, fmt.Errorf("%s is not an IPv4 range of /%d or larger", s, minRange)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set beyond its length; %s is the range", s, prefix.Masked())
	}
	return prefix, nil
}

// checkWhole finds what is wrong between lines, as when two branches each added a host and were merged without a conflict.
func (p *lockParser) checkWhole() {
	if p.conflict {
		return // everything else follows from it
	}
	const merged = `; if two branches each added a host, delete one of the two lines and run "fabric apply" to add that host again`
	names, ids := map[string]int{}, map[int]entryLine{}
	for _, e := range p.statements {
		if line, ok := names[e.Name]; ok {
			p.errorf(e.line, "%s is on line %d already: delete one of the two", e.Name, line)
		} else {
			names[e.Name] = e.line
		}
		if other, ok := ids[e.ID]; ok {
			p.errorf(e.line, "%s has the id of %s on line %d%s", e.Name, other.Name, other.line, merged)
		} else {
			ids[e.ID] = e
		}
		if p.network.IsValid() && !contains(p.network, e.Range) {
			p.errorf(e.line, "%s: range %s is not inside the network %s", e.Name, e.Range, p.network)
		}
	}
	if len(p.statements) > 0 && !p.network.IsValid() {
		p.errorf(p.statements[0].line, "the network is missing: a line like \"network 172.17.0.0/16\" comes before the hosts")
	}
	sorted := slices.SortedFunc(slices.Values(p.statements), func(a, b entryLine) int {
		return cmp.Or(comparePrefix(a.Range, b.Range), cmp.Compare(a.line, b.line))
	})
	// Aligned ranges nest or are apart, so it is enough to look at the last one that reaches furthest.
	for i, last := 1, 0; i < len(sorted); i++ {
		if !sorted[last].Range.Overlaps(sorted[i].Range) {
			last = i
			continue
		}
		a, b := sorted[last], sorted[i]
		if a.line > b.line {
			a, b = b, a
		}
		if a.Name != b.Name {
			p.errorf(b.line, "%s: range %s overlaps %s of %s on line %d%s", b.Name, b.Range, a.Range, a.Name, a.line, merged)
		}
	}
}

func (p *lockParser) entries(kind string) []Entry {
	var entries []Entry
	for _, e := range p.statements {
		if e.kind == kind {
			entries = append(entries, e.Entry)
		}
	}
	return inOrder(entries)
}
