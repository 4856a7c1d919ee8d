package remote

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/plan"
)

// FuzzHost has a host say anything, from its login scripts on. It neither
// gets another file than a program, nor a word to the terminal that acts on it.
func FuzzHost(f *testing.F) {
	dir := f.TempDir()
	executable := filepath.Join(dir, "bin", "fabric")
	for path, content := range map[string]string{executable: "program", filepath.Join(dir, "secret"): "secret"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			f.Fatal(err)
		}
	}
	program, err := NewPrograms(executable).For(goArch(machine()))
	if err != nil {
		f.Fatal(err)
	}
	hello := "fabric-host Linux " + machine() + "\nfabric-program missing\n" + `{"version":1,"program":"` + program.Build + `"}` + "\n"
	for _, seed := range []string{
		"", "Welcome\n", hello, "fabric-host Linux x/../../secret\nfabric-program missing\n", "fabric-host \x1b[2J\n", "fabric-host Linux \x1b[2J\n",
		hello + `{"progress":"\u001b[2J"}` + "\n" + `{"error":{"message":"\u009b2J"}}`, hello + `{"observation":{"obstacles":[{"what":"\u202e"}]}}`,
		hello + `{"\u001b":1}`, hello + "\x1b", hello + `{"observation":{"facts":{"underlay":[{"peer":"\u001b"}]}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		heard := &hears{}
		s := &Session{Host: "h1", stdin: heard, stderr: &tail{}}
		shown := func(text string) {
			if printable.Text(text) != text {
				t.Errorf("%q reaches the terminal", text)
			}
		}
		err := s.start(bufio.NewReader(bytes.NewReader(said)), NewPrograms(executable), wire.Start{Fabric: "demo"})
		if err == nil {
			var reply wire.Reply
			reply, err = s.Call(t.Context(), wire.Request{Observe: &plan.Query{}}, shown)
			shown(reply.Progress)
			if o := reply.Observation; o != nil {
				shown(strings.Join(slices.Concat(o.Facts.DatapathTypes, o.Facts.ForeignPorts, o.Facts.NetdevBridges), " "))
				for _, obstacle := range o.Obstacles {
					shown(obstacle.What + obstacle.Cure)
				}
			}
		}
		if err != nil {
			shown(err.Error())
			shown(s.explain(Target{Name: "h1", Address: "192.0.2.11"}, err).Error())
		}
		if s.Program != "" && s.Program != program.Build {
			t.Errorf("the host was offered something that is not the program")
		}
		if strings.Contains(heard.String(), "secret") {
			t.Error("the host was sent another file")
		}
	})
}

// FuzzSSHArguments has a file or a lock say anything about how to get into a
// host. ssh sees every word where it belongs, and as it was written.
func FuzzSSHArguments(f *testing.F) {
	for _, seed := range [][4]string{
		{"192.0.2.11", "ops", "/keys/id", "/etc/ssh"},
		{"-oProxyCommand=id", "-oProxyCommand=id", "-i", "-F"},
		{"h1 h2", "o ps", "/my keys/id", "/my config"},
		{"'h1'", `"ops"`, "/it's", "$(id)"},
		{"h1\n", "ops\n", "/keys/%h", "${HOME}"},
		{"fe80::1%eth0", `CORP\ops`, "/keys/größe", "/etc/%"},
		{"ssh://h1", "ops@corp", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], 22, true)
	}
	f.Fuzz(func(t *testing.T, address, user, identity, config string, port int, sudo bool) {
		target := Target{Name: "h1", Address: address, User: user, Identity: identity, Config: config, Port: port, Sudo: sudo}
		if target.check() != nil {
			return
		}
		args := sshArgs(target, 1)
		got := map[string]string{}
		i := 0
		for ; args[i] != "--"; i++ { // as getopt(3) does it
			if slices.Contains([]string{"-T", "-a", "-x"}, args[i]) {
				continue
			}
			got[args[i]] = args[i+1]
			i++
		}
		for flag, want := range map[string]string{"-l": user, "-i": identity, "-F": config} {
			if got[flag] != want {
				t.Errorf("%s %q, want %q", flag, got[flag], want)
			}
		}
		if rest := args[i+1:]; len(rest) != 2 || rest[0] != address || rest[1] != remoteCommand(target) {
			t.Errorf("after the options: %q", rest)
		}
		if strings.HasPrefix(address, "-") || strings.ContainsAny(address+user, " \n'\"`$;&|<>(){}") {
			t.Errorf("%q and %q could become part of a shell command", user, address)
		}
	})
}
