package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ovsfabric/fabric/picture"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

func printPlan(stdout io.Writer, p *plan.Plan) {
	color := colored(stdout)
	w := bufio.NewWriter(stdout) // a plan of 10,000 hosts has 120,000 lines
	defer func() { _ = w.Flush() }()
	if p.Graph != nil {
		printNetwork(w, p)
	}
	for _, h := range p.Hosts {
		printHost(w, h, color)
	}
	printMoves(w, p.Moves, color)
	for _, warning := range p.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	changing := 0
	for _, h := range p.Hosts {
		if len(h.Changes) > 0 {
			changing++
		}
	}
	asked := len(p.Hosts) - len(p.Missing())
	switch {
	case changing > 0:
		fmt.Fprintf(w, "%d of %s would change.\n", changing, count(len(p.Hosts), "host", "hosts"))
	case p.Graph == nil: // a destroy
		fmt.Fprintf(w, "Nothing to do: %s nothing of the fabric.\n", count(len(p.Hosts), "host has", "hosts have"))
	default:
		fmt.Fprintf(w, "Nothing to do: %s as the file wants it.\n", count(asked, "host is", "hosts are"))
	}
}

// printMoves tells which hosts wait for each other while the tree moves.
func printMoves(w io.Writer, moves []plan.Move, color bool) {
	for i, m := range moves {
		if i == maxMoves {
			fmt.Fprintf(w, "! and %s more; --json lists them all\n", count(len(moves)-maxMoves, "host", "hosts"))
			break
		}
		who := m.Host
		if rest := len(m.Behind) - 1; rest > 0 {
			who = fmt.Sprintf("%s and %s behind it", m.Host, count(rest, "host", "hosts"))
			if len(m.Behind) <= maxNamed {
				who = strings.Join(m.Behind, ", ")
			}
		}
		fmt.Fprintln(w, paint(color, fmt.Sprintf("! %s: no way to the others (%s) for up to %.1f s: %s %s",
			who, count(m.Pairs, "pair", "pairs"), float64(m.OutageMS)/1000, m.Host, m.Why)))
	}
}

// Of moves, and of hosts that one takes along, a plan prints so many.
const maxMoves, maxNamed = 50, 8

func count(n int, one, many string) string {
	return fmt.Sprintf("%d %s", n, plural(n, one, many))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// maxTreeHosts is how many hosts the tree and the tunnels are drawn for;
// beyond it the summary has to do.
const maxTreeHosts = 50

func printNetwork(w io.Writer, p *plan.Plan) {
	fmt.Fprintf(w, "%s: %s in %s, %s\n", p.Fabric, count(len(p.Tree.Nodes), "host", "hosts"), p.Network, strings.ToUpper(p.Protocol))
	fmt.Fprintf(w, "  MTU     %d = %s\n", p.MTU.Value, p.MTU.Why)
	fmt.Fprintf(w, "  graph   %s, %s: %s\n", p.Graph.Strategy, count(len(p.Graph.Links), "tunnel", "tunnels"), p.Graph.Why)
	fmt.Fprintf(w, "  tree    root %s, backup %s\n", p.Graph.Root, orNone(p.Graph.Backup))
	if len(p.Tree.Nodes) > 1 {
		fmt.Fprintf(w, "  losses  %s\n", losses(p.Checked))
		fmt.Fprintf(w, "  depth   %s from the root, %d after the worst failure; %s is set to carry %d\n",
			count(p.Checked.Depth, "hop", "hops"), p.Checked.WorstDepth, strings.ToUpper(p.Protocol), p.MaxDepth())
		fmt.Fprintf(w, "  ports   %s\n", ports(p))
	}
	fmt.Fprintln(w)
	t := newTable(w)
	t.AppendHeader(table.Row{"HOST", "ADDRESS", "RANGE", "GATEWAY", "ROLE"})
	for _, h := range p.Hosts {
		if !h.Removed {
			t.AppendRow(table.Row{h.Name, h.Address, h.Range, h.Gateway, role(p, h.Name)})
		}
	}
	t.Render()
	fmt.Fprintln(w)
	if drawTree(w, p, p.Tree) {
		fmt.Fprintln(w)
	}
	if p.Meanwhile != nil {
		printMeanwhile(w, p)
	}
}

// printMeanwhile shows the fabric without the hosts that are missing.
func printMeanwhile(w io.Writer, p *plan.Plan) {
	missing := p.Missing()
	fmt.Fprintf(w, "Until %s %s back: root %s, cut off %s\n", strings.Join(missing, ", "), plural(len(missing), "is", "are"),
		orNone(p.Meanwhile.Root), orNone(strings.Join(p.Meanwhile.CutOff, ", ")))
	drawTree(w, p, p.Meanwhile.Tree)
	fmt.Fprintln(w)
}

// drawTree draws a tree of the plan's hosts, unless it is too large to read.
func drawTree(w io.Writer, p *plan.Plan, tree *topology.Tree) (drawn bool) {
	if len(tree.Nodes) == 0 || len(tree.Nodes) > maxTreeHosts {
		return false
	}
	of := *p
	of.Tree = tree
	_ = picture.New(&of).Text(w) // as with every line here, nobody is left to tell of a broken stdout
	return true
}

// losses says what was checked of the tree by every single loss.
func losses(c topology.Checked) string {
	first := "survives the loss of any one host or link"
	if c.Cuts > 0 {
		first = "the loss of " + count(c.Cuts, "host or link", "hosts or links") + " would cut it in two"
	}
	return fmt.Sprintf("%s; at most %s on a way, %d after the worst failure", first, count(c.Bridges, "bridge", "bridges"), c.WorstBridges)
}

// ports says how near the bridge with the most tunnels is to what the protocol can number.
func ports(p *plan.Plan) string {
	tunnels := make(map[string]int, len(p.Hosts))
	for _, l := range p.Graph.Links {
		tunnels[l.A]++
		tunnels[l.B]++
	}
	busiest := ""
	for _, n := range p.Tree.Nodes {
		if tunnels[n.Name] > tunnels[busiest] {
			busiest = n.Name
		}
	}
	return fmt.Sprintf("at most %d of the %d tunnels that %s has numbers for, on %s; no two between the same hosts",
		tunnels[busiest], topology.Protocol(p.Protocol).MaxTunnels(), strings.ToUpper(p.Protocol), busiest)
}

func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func role(p *plan.Plan, host string) string {
	switch host {
	case p.Graph.Root:
		return "root"
	case p.Graph.Backup:
		return "backup root"
	}
	return ""
}

func printHost(w io.Writer, h plan.Host, color bool) {
	title := h.Name
	if h.Removed {
		title += " (removed from the fabric)"
	}
	if h.Missing != "" {
		fmt.Fprintf(w, "%s: %s: it stays as it is\n", title, h.Missing)
		return
	}
	if len(h.Changes) == 0 && len(h.Obstacles) == 0 {
		fmt.Fprintf(w, "%s: nothing to do\n", title)
		return
	}
	fmt.Fprintf(w, "%s:\n", title)
	for _, o := range h.Obstacles {
		fmt.Fprintf(w, "  %s\n", paint(color, fmt.Sprintf("x %s: %s", o.What, o.Cure)))
	}
	for _, c := range h.Changes {
		fmt.Fprintf(w, "  %s\n", paint(color, c.String()))
	}
	for _, text := range h.Impact {
		fmt.Fprintf(w, "  %s\n", paint(color, "! "+text))
	}
	fmt.Fprintln(w)
}

// obstacles makes an error of what is in the way of a plan, a line each.
func obstacles(p *plan.Plan) error {
	errs := make(map[string]error)
	for _, h := range p.Obstructed() {
		errs[h.Name] = obstacleError(h.Name, h.Obstacles)
	}
	return joinErrors(errs)
}

func obstacleError(host string, found []plan.Obstacle) error {
	var lines []string
	for _, o := range found {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", host, o.What, o.Cure))
	}
	if len(lines) == 0 {
		return nil
	}
	return errors.New(strings.Join(slices.Compact(lines), "\n"))
}
