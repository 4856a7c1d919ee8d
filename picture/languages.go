package picture

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// DOT writes the graph for Graphviz (https://graphviz.org/doc/info/lang.html).
func (p *Picture) DOT(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "graph %s {\n", dotQuoted(p.Fabric))
	b.WriteString("  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n")
	for i, s := range p.sites() {
		indent := "  "
		if s.name != "" {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s;\n", i, dotQuoted(s.name))
			indent = "    "
		}
		for _, h := range s.hosts {
			fmt.Fprintf(&b, "%s%s [label=%s%s];\n", indent, dotQuoted(h.Name), dotQuoted(p.title(h)+"\n"+h.Range.String()), p.dotStyle(h))
		}
		if s.name != "" {
			b.WriteString("  }\n")
		}
	}
	for _, l := range p.downward() {
		style := ""
		if !l.Tree {
			style = ", style=dashed, constraint=false"
		}
		fmt.Fprintf(&b, "  %s -- %s [tooltip=\"cost %d\"%s];\n", dotQuoted(l.A), dotQuoted(l.B), l.Cost, style)
	}
	b.WriteString("}\n")
	_, err := w.Write(b.Bytes())
	return err
}

func (p *Picture) dotStyle(h *Host) string {
	switch {
	case h.Parent == "":
		return ", style=\"rounded,bold,filled\""
	case h.Name == p.Backup:
		return ", style=\"rounded,bold\""
	}
	return ""
}

// dotQuoted is a double-quoted string of the DOT language, in which a label
// reads \n as a new line and \\ as a backslash.
func dotQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// Mermaid writes the graph as a Mermaid flowchart
// (https://mermaid.js.org/syntax/flowchart.html). Hosts are numbered there,
// since not every name can be an identifier.
func (p *Picture) Mermaid(w io.Writer) error {
	var b bytes.Buffer
	id := make(map[string]string, len(p.Hosts))
	for i, h := range p.Hosts {
		id[h.Name] = fmt.Sprintf("n%d", i+1)
	}
	b.WriteString("flowchart TD\n")
	for i, s := range p.sites() {
		indent := "  "
		if s.name != "" {
			fmt.Fprintf(&b, "  subgraph s%d[%s]\n", i+1, mermaidQuoted(s.name))
			indent = "    "
		}
		for _, h := range s.hosts {
			class := ""
			switch {
			case h.Parent == "":
				class = ":::root"
			case h.Name == p.Backup:
				class = ":::backup"
			}
			fmt.Fprintf(&b, "%s%s[%s]%s\n", indent, id[h.Name], mermaidQuoted(p.title(h)+"\n"+h.Range.String()), class)
		}
		if s.name != "" {
			b.WriteString("  end\n")
		}
	}
	for _, l := range p.downward() {
		line := "---"
		if !l.Tree {
			line = "-.-"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", id[l.A], line, id[l.B])
	}
	b.WriteString("  classDef root stroke-width:4px\n  classDef backup stroke-width:3px,stroke-dasharray:6 3\n")
	_, err := w.Write(b.Bytes())
	return err
}

// mermaidQuoted is a quoted text of Mermaid, which has its own way to write
// special characters.
func mermaidQuoted(s string) string {
	return `"` + strings.NewReplacer(`#`, "#35;", `"`, "#quot;", "&", "#amp;", "<", "#lt;", ">", "#gt;", "\n", "<br/>").Replace(s) + `"`
}

// downward is the links with the end that is nearer to the root first: both
// languages put the first end above the second.
func (p *Picture) downward() []Link {
	depth := make(map[string]int, len(p.Hosts))
	for _, h := range p.Hosts {
		depth[h.Name] = h.Depth
	}
	links := make([]Link, len(p.Links))
	for i, l := range p.Links {
		if depth[l.B] < depth[l.A] {
			l.A, l.B = l.B, l.A
		}
		links[i] = l
	}
	return links
}
