package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fabric": func() { start(anyBuild) }, "peak": peak})
}

// anyBuild takes any build for one that runs on hosts: the tests' own may be
// linked dynamically.
func anyBuild(string) error { return nil }

var update = flag.Bool("update", false, "write what the scripts' commands print into the scripts")

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, UpdateScripts: *update})
}

func TestEveryCommandSaysWhatItDoesAndHow(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: has no Short or no Example", c.CommandPath())
		}
		if c.Args == nil && c.Name() != "ctl" {
			t.Errorf("%s: takes any arguments", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand(anyBuild))
}

func TestJSONIsAllThatGoesToStdout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fabric.yaml")
	if err := os.WriteFile(file, starter, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), []string{"plan", "--offline", "--json", "-f", file}, strings.NewReader(""), &stdout, &stderr, anyBuild); err != nil {
		t.Fatal(err)
	}
	var plan struct {
		Fabric string
		Hosts  []struct{ Name string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Fabric != "demo" || len(plan.Hosts) != 3 || stderr.Len() > 0 {
		t.Errorf("%+v, and %q on stderr", plan, &stderr)
	}
}
