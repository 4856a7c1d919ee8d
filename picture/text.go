package picture

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// width is how many columns a terminal has at least.
	width = 80
	// maxSiblings is how many hosts without children get a line each below
	// the same parent.
	maxSiblings = 16
	// maxBlocked is how many blocked links are listed.
	maxBlocked = 2000
)

// Text writes the tree as indented lines of at most 80 columns, as far as
// the names allow that, and then the blocked links.
func (p *Picture) Text(w io.Writer) error {
	t := text{Picture: p, below: p.children(), indent: 4}
	if p.Depth > 8 {
		t.indent = 2 // the deepest tree that there is, of 20 hops, leaves half a line
	}
	for i := range p.Hosts {
		if h := &p.Hosts[i]; h.Parent == "" {
			t.line("", h)
			t.draw(h, "")
		}
	}
	t.blocked()
	_, err := io.WriteString(w, t.String())
	return err
}

type text struct {
	strings.Builder
	*Picture
	below  map[string][]*Host
	indent int
}

// line writes a host with as much of what is known of it as fits.
func (t *text) line(prefix string, h *Host) {
	line := prefix + t.title(h)
	var more []string
	if h.Range.IsValid() {
		more = append(more, h.Range.String())
	}
	if h.Site != "" {
		more = append(more, h.Site)
	}
	for _, m := range more {
		if utf8.RuneCountInString(line)+2+len(m) <= width {
			line += "  " + m
		}
	}
	fmt.Fprintln(t, line)
}

// draw writes what hangs below a host: each child with its own, then, where
// they are many, those that have none as a list.
func (t *text) draw(parent *Host, prefix string) {
	children := t.below[parent.Name]
	var leaves []string
	for _, h := range children {
		if t.plain(h) {
			leaves = append(leaves, h.Name)
		}
	}
	if len(leaves) <= maxSiblings {
		leaves = nil
	}
	last := len(children) - len(leaves) - 1
	if leaves != nil {
		last = -1 // the list is the last
	}
	drawn := 0
	for _, h := range children {
		if leaves != nil && t.plain(h) {
			continue
		}
		branch, beneath := t.branch(drawn == last)
		drawn++
		t.line(prefix+branch, h)
		t.draw(h, prefix+beneath)
	}
	if leaves != nil {
		branch, beneath := t.branch(true)
		t.list(prefix+branch, prefix+beneath, leaves)
	}
}

// plain reports whether there is no more to say of a host than its name.
func (t *text) plain(h *Host) bool { return len(t.below[h.Name]) == 0 && h.Name != t.Backup }

func (t *text) branch(last bool) (branch, beneath string) {
	rule, blank := strings.Repeat("─", t.indent-2), strings.Repeat(" ", t.indent-1)
	if last {
		return "└" + rule + " ", " " + blank
	}
	return "├" + rule + " ", "│" + blank
}

// list writes names with commas between, over as many lines as it takes.
func (t *text) list(first, rest string, names []string) {
	line := first
	for i, name := range names {
		if i < len(names)-1 {
			name += ","
		}
		switch {
		case i == 0:
			line += name
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(name) > width:
			fmt.Fprintln(t, line)
			line = rest + name
		default:
			line += " " + name
		}
	}
	fmt.Fprintln(t, line)
}

// blocked lists the blocked links, those that share an end together.
func (t *text) blocked() {
	var links []Link
	degree := make(map[string]int)
	for _, l := range t.Links {
		if !l.Tree {
			links = append(links, l)
			degree[l.A]++
			degree[l.B]++
		}
	}
	if len(links) > maxBlocked {
		fmt.Fprintf(t, "blocked: %d of %d links\n", len(links), len(t.Links))
		return
	}
	peers := make(map[string][]string)
	for _, l := range links {
		if degree[l.B] > degree[l.A] {
			l.A, l.B = l.B, l.A
		}
		peers[l.A] = append(peers[l.A], l.B)
	}
	label := "blocked: "
	for _, h := range t.Hosts {
		if to := peers[h.Name]; to != nil {
			t.list(label+h.Name+"–", strings.Repeat(" ", len("blocked: ")), to)
			label = strings.Repeat(" ", len(label))
		}
	}
}
