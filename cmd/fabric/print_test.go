package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestPaintGoesByTheMark(t *testing.T) {
	for line, color := range map[string]string{
		"+ bridge br0": "\x1b[32m", "~ daemon.json": "\x1b[33m", "! dockerd restarts": "\x1b[33m",
		"- port vx-h2": "\x1b[31m", "x docker0": "\x1b[31m", "plain": "", "": "",
	} {
		want := line
		if color != "" {
			want = color + line + "\x1b[0m"
		}
		if got := paint(true, line); got != want {
			t.Errorf("paint(%q) = %q, want %q", line, got, want)
		}
		if got := paint(false, line); got != line {
			t.Errorf("without colour: paint(%q) = %q", line, got)
		}
	}
}

func TestVersionNamesTheCommitOnce(t *testing.T) {
	built := runtime.GOOS + "/" + runtime.GOARCH + " " + runtime.Version()
	settings := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	for name, tc := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"nothing known":     {nil, "(unknown) " + built},
		"no commit":         {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "(devel) " + built},
		"commit":            {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: settings}, "v1.2.3 0123456789ab+dirty " + built},
		"commit in version": {&debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20260101-0123456789ab"}, Settings: settings}, "v0.0.0-20260101-0123456789ab " + built},
	} {
		if got := version(tc.info); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func terminal(w *bytes.Buffer, width, height int, err error) *progress {
	p := newProgress(w)
	p.start = time.Now().Add(time.Hour) // so that no line depends on how fast the test is
	p.size = func() (int, int, error) { return width, height, err }
	return p
}

func TestProgressRewritesLinesInPlace(t *testing.T) {
	var out bytes.Buffer
	p := terminal(&out, 80, 24, nil)
	p.host("h1", "one")
	p.host("h1", "two")
	if got := strings.Count(out.String(), "\x1b[1A"); got != 1 {
		t.Errorf("the cursor went up %d times, want once: %q", got, &out)
	}
}

func TestProgressFallsBackToPlainLinesWhereHostsDoNotFit(t *testing.T) {
	var out bytes.Buffer
	p := terminal(&out, 80, 4, nil)
	for i := range 4 {
		p.host(fmt.Sprintf("h%d", i), "one")
	}
	out.Reset()
	p.host("h0", "two")
	if got := out.String(); strings.Contains(got, "\x1b") || !strings.HasSuffix(got, "h0: two\n") {
		t.Errorf("%q, want one plain line", got)
	}
}

func TestProgressIsPlainWhereTheSizeIsNotKnown(t *testing.T) {
	var out bytes.Buffer
	terminal(&out, 0, 0, errors.New("no terminal")).host("h1", "one")
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("%q, want one plain line", &out)
	}
}

func TestProgressNeverWraps(t *testing.T) {
	var out bytes.Buffer
	terminal(&out, 20, 24, nil).host("h1", strings.Repeat("–", 100))
	line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K\n")
	if n := len([]rune(line)); n != 19 || !strings.HasSuffix(line, "…") {
		t.Errorf("%q has %d characters, want 19", line, n)
	}
}

func TestAskTakesOnlyAYes(t *testing.T) {
	for answer, yes := range map[string]bool{"y\n": true, "YES\n": true, "yes": true, "n\n": false, "\n": false, "": false, "yep\n": false} {
		var stderr bytes.Buffer
		err := ask(t.Context(), strings.NewReader(answer), &stderr, "Apply this?")
		if (err == nil) != yes {
			t.Errorf("%q: %v", answer, err)
		}
		if stderr.String() != "Apply this? [y/N] " {
			t.Errorf("asked %q", &stderr)
		}
	}
}

func TestWaitingNamesTheHostsThatAreLeft(t *testing.T) {
	var stderr bytes.Buffer
	p := newWaiting(&stderr, []string{"h1", "h2", "h3"})
	p.done("h2")
	p.tell()
	p.end()
	p.tell()
	if want := "waiting for h1, h3\n"; stderr.String() != want {
		t.Errorf("said %q, want %q", stderr.String(), want)
	}
}
