package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

// anyFailure asks for the worst single failures.
const anyFailure = "any"

// maxWorst is how many of the worst single failures are listed.
const maxWorst = 10

// predictFailures shows what the failures named on the command line leave
// of the fabric. No host is asked, nor any name resolved.
func predictFailures(w io.Writer, o *options, names []string, asJSON bool) error {
	l, err := load(o.file)
	if err != nil {
		return err
	}
	p, err := planOffline(l)
	if err != nil {
		return err
	}
	if slices.Contains(names, anyFailure) {
		if len(names) > 1 {
			return fmt.Errorf("--fail %s stands for each single failure: it goes with no other --fail", anyFailure)
		}
		worst := p.WorstFailures()
		if asJSON {
			return writeJSON(w, worst)
		}
		printWorst(w, worst)
		return nil
	}
	var failures []topology.Failure
	for _, name := range names {
		f, err := p.Tree.ParseFailure(name)
		if err != nil {
			return fmt.Errorf("--fail %w", err)
		}
		failures = append(failures, f)
	}
	outcome := p.Fail(failures...)
	if asJSON {
		return writeJSON(w, outcome)
	}
	printOutcome(w, p, outcome)
	return nil
}

// failuresOf lists what --fail takes, for completion: nothing where the file
// cannot be read.
func failuresOf(file string) []string {
	l, err := load(file)
	if err != nil {
		return nil
	}
	names := []string{anyFailure}
	for _, h := range l.topology.Hosts {
		names = append(names, topology.Failure{Host: h.Name}.String())
	}
	for _, link := range l.graph.Links {
		names = append(names, topology.Failure{A: link.A, B: link.B}.String())
	}
	return names
}

func printOutcome(w io.Writer, p *plan.Plan, o plan.Outcome) {
	fmt.Fprintf(w, "After the loss of %s:\n", strings.Join(o.Failures, ", "))
	root := orNone(o.Root)
	if o.Root != p.Tree.Root {
		root += ", was " + p.Tree.Root
	}
	fmt.Fprintf(w, "  root    %s\n", root)
	fmt.Fprintf(w, "  cut off %s\n", orNone(strings.Join(o.CutOff, ", ")))
	fmt.Fprintf(w, "  path    at most %s on a way\n", count(o.Diameter, "bridge", "bridges"))
	fmt.Fprintf(w, "  outage  %s\n", outage(o))
	fmt.Fprintln(w)
	drawTree(w, p, o.Tree)
}

func outage(o plan.Outcome) string {
	switch {
	case o.OutageMS == 0:
		return "none: no path between the others changes"
	case o.Rerouted == 0:
		return "about " + seconds(o.OutageMS)
	}
	return fmt.Sprintf("about %s, for %s another way", seconds(o.OutageMS), count(o.Rerouted, "host that is reached", "hosts that are reached"))
}

func seconds(ms int) string { return fmt.Sprintf("%.3g s", float64(ms)/1000) }

func printWorst(w io.Writer, worst []plan.Outcome) {
	if len(worst) == 0 {
		fmt.Fprintln(w, "No single failure cuts a host off or makes others wait.")
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"LOST", "CUT OFF", "REROUTED", "OUTAGE", "LONGEST PATH", "ROOT"})
	for _, o := range worst[:min(len(worst), maxWorst)] {
		cut := count(len(o.CutOff), "host", "hosts")
		if len(o.CutOff) <= 3 {
			cut = orNone(strings.Join(o.CutOff, ", "))
		}
		wait := "none"
		if o.OutageMS > 0 {
			wait = seconds(o.OutageMS)
		}
		t.AppendRow(table.Row{o.Failures[0], cut, count(o.Rerouted, "host", "hosts"), wait, count(o.Diameter, "bridge", "bridges"), o.Root})
	}
	t.Render()
	if more := len(worst) - maxWorst; more > 0 {
		fmt.Fprintf(w, "and %s, none worse\n", count(more, "other", "others"))
	}
	fmt.Fprintln(w, "All other single failures leave every path between the others as it is.")
}
