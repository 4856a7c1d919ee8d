package remote

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
)

func TestExpectSkipsWhatLoginScriptsPrint(t *testing.T) {
	for name, before := range map[string]string{
		"nothing":        "",
		"a banner":       "Welcome to h1\n\nLast login: never\n",
		"a long line":    strings.Repeat("=", 10_000) + "\n",
		"marker midline": "see fabric-host Darwin arm64\n",
		"marker at the middle of what the reader holds": strings.Repeat("=", 4096) + "fabric-host Darwin arm64\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := expect(bufio.NewReader(strings.NewReader(before+"fabric-host Linux x86_64\nrest")), "fabric-host")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"Linux", "x86_64"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExpectGivesUpOnEndlessNoise(t *testing.T) {
	for name, noise := range map[string]string{"in lines": "noise\n", "in one line": "noise"} {
		t.Run(name, func(t *testing.T) {
			endless := &repeated{text: noise}
			if _, err := expect(bufio.NewReader(endless), "fabric-host"); err == nil {
				t.Error("no error")
			}
			if endless.read > 2*maxNoise {
				t.Errorf("%d bytes were read, with a bound of %d", endless.read, maxNoise)
			}
		})
	}
}

func TestExpectNoticesTheEnd(t *testing.T) {
	if _, err := expect(bufio.NewReader(strings.NewReader("Welcome\nfabric-host")), "fabric-host"); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want io.EOF", err)
	}
}

// repeated never ends.
type repeated struct {
	text string
	read int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], r.text)
	}
	r.read += n
	return n, nil
}

// hears is what a host is sent.
type hears struct{ strings.Builder }

func (*hears) Close() error { return nil }

func TestStartRefusesWhatItCannotWorkWith(t *testing.T) {
	executable := filepath.Join(t.TempDir(), "fabric")
	if err := os.WriteFile(executable, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ said, want string }{
		"another system": {"fabric-host Darwin arm64\n", "h1: it runs Darwin arm64: fabric works on Linux hosts"},
		"no answer":      {"fabric-host\n", "h1: it runs something that does not say what it is: fabric works on Linux hosts"},
		"no program for it": {
			"fabric-host Linux riscv64\n",
			"h1: this machine has no fabric for riscv64: build it (GOARCH=riscv64) and put it beside this one as fabric-linux-riscv64",
		},
		"a machine that is a path": {
			"fabric-host Linux x/../../../etc/shadow\n",
			"h1: it does not say what machine it is: see what uname -m prints there",
		},
		"another build": {
			"fabric-host Linux " + machine() + "\nfabric-program present\n" + `{"version":1,"program":"0123456789abcdef"}` + "\n",
			"the host runs another build of fabric (\"0123456789ab\", protocol 1) than it was sent (\"1310ca2c8932\", protocol 1)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Session{Host: "h1", stdin: &hears{}}
			err := s.start(bufio.NewReader(strings.NewReader(tc.said)), NewPrograms(executable), wire.Start{Fabric: "demo"})
			if err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// machine is this machine's architecture as uname -m has it.
func machine() string {
	for _, name := range []string{"x86_64", "aarch64"} {
		if goArch(name) == runtime.GOARCH {
			return name
		}
	}
	return runtime.GOARCH
}

func TestAProgramIsFoundByArchitecture(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"fabric": "this one", "fabric-linux-riscv64": "that one"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPrograms(filepath.Join(dir, "fabric"))
	own, err := p.For(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.For("riscv64")
	if err != nil {
		t.Fatal(err)
	}
	if own.Build == other.Build {
		t.Error("two architectures have one program")
	}
	if diff := cmp.Diff(map[string]string{runtime.GOARCH: own.Build, "riscv64": other.Build}, p.Builds()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.For("s390x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want os.ErrNotExist", err)
	}
}

func TestNothingOfTheFileReachesAShell(t *testing.T) {
	evil := "'; touch /tmp/x; '"
	target := Target{Name: evil, Fabric: evil, Address: "h1", User: "ops", Port: 22, Identity: evil, Config: evil, Sudo: true}
	args := sshArgs(target, 1)
	if args[len(args)-1] != remoteCommand(target) || strings.Contains(remoteCommand(target), evil) {
		t.Error("the remote command is not the constant one")
	}
	if i := slices.Index(args, "--"); i < 0 || args[i+1] != "h1" {
		t.Errorf("%q: an address could be taken for an option", args)
	}
}

func TestSSHIsAsPatientAsTheOperator(t *testing.T) {
	args := sshArgs(Target{Address: "h1"}, 2.5)
	for _, option := range []string{"ConnectTimeout=25", "ServerAliveInterval=5", "ServerAliveCountMax=8"} {
		if !slices.Contains(args, option) {
			t.Errorf("%q has no %s", args, option)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tl tail
	for range 3 * tailSize / 4 {
		fmt.Fprint(&tl, "long")
	}
	fmt.Fprint(&tl, "end\n")
	if got := tl.String(); len(got) > tailSize || !strings.HasSuffix(got, "longend") {
		t.Errorf("%d bytes that end in %q", len(got), got[max(0, len(got)-10):])
	}
}

func TestSudoIsUsedByWhoeverIsNotRoot(t *testing.T) {
	const ask, sudo = "id -u", "sudo -n"
	for _, c := range []struct {
		target Target
		want   []bool // whether the command asks who it is, and whether it has sudo
	}{
		{Target{Sudo: true}, []bool{true, true}}, // ssh's configuration has the user
		{Target{Sudo: true, User: "root"}, []bool{true, true}},
		{Target{Sudo: true, User: "ops"}, []bool{false, true}},
		{Target{User: "ops"}, []bool{false, false}},
	} {
		command := remoteCommand(c.target)
		if got := []bool{strings.Contains(command, ask), strings.Contains(command, sudo)}; !slices.Equal(got, c.want) {
			t.Errorf("%+v: asks, has sudo: %v, want %v", c.target, got, c.want)
		}
	}
}
