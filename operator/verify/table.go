package verify

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// matrixHosts is up to how many hosts the round-trip times are shown one by
// one.
const matrixHosts = 10

// longList is up to how many pairs a failure names.
const longList = 8

// WriteTable writes the report for people: a line for each kind of check,
// the round-trip times of a small fabric, each failure with its cause and
// cure, and the verdict. With color it uses ANSI escapes.
func (r Report) WriteTable(w io.Writer, color bool) error {
	t := &table{report: r, color: color}
	t.summary()
	t.matrix()
	t.faults()
	t.verdict()
	_, err := w.Write(t.out.Bytes())
	return err
}

type table struct {
	report Report
	color  bool
	out    bytes.Buffer
}

func (t *table) printf(format string, args ...any) { fmt.Fprintf(&t.out, format, args...) }

// summary writes a line for each kind of check that was made.
func (t *table) summary() {
	for _, name := range checkNames() {
		checks := slices.Collect(func(yield func(Check) bool) {
			for _, check := range t.report.Checks {
				if check.Name == name && !yield(check) {
					return
				}
			}
		})
		if len(checks) == 0 {
			continue
		}
		status, count := tally(checks)
		line := fmt.Sprintf("%s  %-10s  %-18s  %s", t.mark(status), name, count, t.figures(name, status))
		t.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// tally gives the worst status of some checks and how many are good.
func tally(checks []Check) (Status, string) {
	counts := make(map[Status]int)
	perPair := 0
	for _, check := range checks {
		counts[check.Status]++
		if check.Peer != "" {
			perPair++
		}
	}
	unit := "checks"
	switch perPair {
	case 0:
		unit = "hosts"
	case len(checks):
		unit = "pairs"
	}
	status := Pass
	for _, worse := range []Status{Skipped, Warn, Fail} {
		if counts[worse] > 0 {
			status = worse
		}
	}
	return status, fmt.Sprintf("%d of %d %s", counts[Pass]+counts[Warn], len(checks), unit)
}

// figures gives what a passed kind of check has measured.
func (t *table) figures(name string, status Status) string {
	r := t.report
	switch name {
	case CheckTree:
		if status == Pass {
			return fmt.Sprintf("root %s, %s blocked", r.Root, plural(r.Blocked, "port"))
		}
	case CheckPing:
		if len(r.RTTs) > 0 {
			var sum, worst time.Duration
			for _, rtt := range r.RTTs {
				sum += rtt.Avg
				worst = max(worst, rtt.Max)
			}
			return fmt.Sprintf("%s ms mean, %s ms worst", millis(sum/time.Duration(len(r.RTTs))), millis(worst))
		}
	case CheckBroadcast:
		if status == Pass {
			return "frames to all reach all"
		}
	case CheckMTU:
		if status == Pass {
			return fmt.Sprintf("%d bytes pass", r.MTU)
		}
	case CheckOversize:
		if status == Pass {
			return fmt.Sprintf("%d bytes are refused", r.MTU+1)
		}
	case CheckAddresses:
		if status == Pass {
			return "no duplicates"
		}
	case CheckThroughput:
		if len(r.Throughput) > 0 {
			sum, least := 0.0, r.Throughput[0].BitsPerSecond
			for _, rate := range r.Throughput {
				sum += rate.BitsPerSecond
				least = min(least, rate.BitsPerSecond)
			}
			return fmt.Sprintf("%s mean, %s least", bits(sum/float64(len(r.Throughput))), bits(least))
		}
	case CheckContainers:
		if status == Pass {
			return fmt.Sprintf("%d bytes pass, %d do not", r.MTU, r.MTU+1)
		}
	}
	return ""
}

// matrix writes the round-trip times, senders down and receivers across.
func (t *table) matrix() {
	hosts := t.report.Hosts
	if len(hosts) > matrixHosts || len(t.report.RTTs) == 0 {
		return
	}
	cells := make(map[Pair]string)
	for _, rtt := range t.report.RTTs {
		cells[Pair{From: rtt.From, To: rtt.To}] = millis(rtt.Avg)
	}
	const corner = "ms from \\ to"
	first, width := utf8.RuneCountInString(corner), len("0.00")
	for _, host := range hosts {
		first = max(first, utf8.RuneCountInString(host))
		width = max(width, utf8.RuneCountInString(host))
	}
	for _, cell := range cells {
		width = max(width, len(cell))
	}
	line := fmt.Sprintf("%-*s", first, corner)
	for _, to := range hosts {
		line += fmt.Sprintf("  %*s", width, to)
	}
	t.printf("\n%s\n", line)
	for _, from := range hosts {
		line := fmt.Sprintf("%-*s", first, from)
		for _, to := range hosts {
			cell := cells[Pair{From: from, To: to}]
			switch {
			case from == to:
				cell = ""
			case cell == "":
				cell = "-"
			}
			line += fmt.Sprintf("  %*s", width, cell)
		}
		t.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// fault is the checks of one kind that have a cause in common.
type fault struct {
	check   Check // with neither hosts nor detail
	details []string
	where   []string
}

// faults writes each cause once for all hosts that it is about.
func (t *table) faults() {
	var faults []*fault
	byCheck := make(map[Check]*fault)
	for _, check := range t.report.Checks {
		if check.Status != Fail && check.Status != Warn {
			continue
		}
		where, detail := check.Host, check.Detail
		if check.Peer != "" {
			where = Pair{From: check.Host, To: check.Peer}.String()
		}
		check.Host, check.Peer, check.Detail = "", "", ""
		f, seen := byCheck[check]
		if !seen {
			f = &fault{check: check}
			byCheck[check] = f
			faults = append(faults, f)
		}
		f.where = append(f.where, where)
		if !slices.Contains(f.details, detail) {
			f.details = append(f.details, detail)
		}
	}
	for _, f := range faults {
		where := f.where
		if more := len(where) - longList; more > 1 {
			where = append(slices.Clone(where[:longList]), fmt.Sprintf("%d more", more))
		}
		t.printf("\n%s  %s  %s: %s\n", t.mark(f.check.Status), f.check.Name,
			strings.Join(where, ", "), strings.Join(f.details, "; "))
		t.printf("      cause: %s\n", f.check.Cause)
		t.printf("      do:    %s\n", f.check.Cure)
	}
}

func (t *table) verdict() {
	failed := 0
	for _, check := range t.report.Checks {
		if check.Status == Fail {
			failed++
		}
	}
	if failed == 0 {
		t.printf("\n%s\n", t.paint(green, fmt.Sprintf("%s works: %s, none failed", t.report.Fabric, plural(len(t.report.Checks), "check"))))
		return
	}
	t.printf("\n%s\n", t.paint(red, fmt.Sprintf("%s has faults: %d of %s failed", t.report.Fabric, failed, plural(len(t.report.Checks), "check"))))
}

// ANSI escapes, ECMA-48 8.3.117.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// mark gives a status in four columns.
func (t *table) mark(status Status) string {
	switch status {
	case Pass:
		return t.paint(green, "ok  ")
	case Warn:
		return t.paint(yellow, "warn")
	case Fail:
		return t.paint(red, "FAIL")
	}
	return t.paint(yellow, "skip")
}

func (t *table) paint(color, text string) string {
	if !t.color {
		return text
	}
	return color + text + plain
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}

func bits(perSecond float64) string {
	switch {
	case perSecond >= 1e9:
		return fmt.Sprintf("%.2f Gbit/s", perSecond/1e9)
	case perSecond >= 1e6:
		return fmt.Sprintf("%.0f Mbit/s", perSecond/1e6)
	}
	return fmt.Sprintf("%.0f kbit/s", perSecond/1e3)
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
