package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// progress shows what each host is at: in place on a terminal that has a
// line for each, as plain lines elsewhere.
type progress struct {
	w     io.Writer
	size  func() (width, height int, err error) // of the terminal; nil where there is none
	start time.Time

	mu    sync.Mutex
	order []string
	at    map[string]string
	drawn int
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, start: time.Now(), at: make(map[string]string)}
	if f, ok := w.(*os.File); ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())) {
		p.size = func() (int, int, error) { return term.GetSize(int(f.Fd())) }
	}
	return p
}

// host notes what a host has begun. It may be called from any goroutine.
func (p *progress) host(name, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.at[name]; !known {
		p.order = append(p.order, name)
	}
	p.at[name] = text
	if p.size != nil {
		width, height, err := p.size()
		if err == nil && len(p.order) < height { // the cursor's line is one more
			p.draw(width)
			return
		}
		p.size = nil // what was drawn stays, and plain lines follow it
	}
	fmt.Fprintln(p.w, p.line(name))
}

func (p *progress) line(name string) string {
	return fmt.Sprintf("%5.1fs %s: %s", time.Since(p.start).Seconds(), name, p.at[name])
}

// draw rewrites the lines of all hosts, by the control sequences of
// ECMA-48: cursor up, and erase to the end of the line. A line that wrapped
// would be two lines up.
func (p *progress) draw(width int) {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA", p.drawn)
	}
	for _, name := range p.order {
		fmt.Fprintf(p.w, "\r%s\x1b[K\n", truncate(p.line(name), width-1))
	}
	p.drawn = len(p.order)
}

// truncate cuts a line to at most width characters.
func truncate(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:max(0, width-1)]) + "…"
}

// waiting says once which hosts keep a command waiting.
type waiting struct {
	w     io.Writer
	timer *time.Timer

	mu   sync.Mutex
	left []string
}

// silence is how long a command may wait before it says for whom.
const silence = 1500 * time.Millisecond

func newWaiting(w io.Writer, hosts []string) *waiting {
	p := &waiting{w: w, left: slices.Clone(hosts)}
	p.timer = time.AfterFunc(silence, p.tell)
	return p
}

func (p *waiting) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 5
	text := strings.Join(p.left[:min(most, len(p.left))], ", ")
	if more := len(p.left) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if text != "" {
		fmt.Fprintf(p.w, "waiting for %s\n", text)
	}
}

// done takes a host off the list.
func (p *waiting) done(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = slices.DeleteFunc(p.left, func(h string) bool { return h == host })
}

// end has nothing more said.
func (p *waiting) end() {
	p.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = nil
}

// end leaves what was drawn.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drawn = 0
	p.order = nil
	clear(p.at)
}
