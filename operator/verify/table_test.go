package verify_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/operator/verify/verifytest"
)

var update = flag.Bool("update", false, "rewrite the files of testdata")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func tableOf(t *testing.T, report verify.Report, color bool) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := report.WriteTable(&out, color); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// broken is a fabric with h3 cut off and one TCP test that hangs.
func broken() verify.Report {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	for _, pair := range involving(exp, "h3") {
		lose(res.Pings.Small, pair)
		lose(res.Pings.Full, pair)
		lose(res.Containers.Pings.Small, pair)
	}
	for _, peer := range []string{"h1", "h2"} {
		port(res, "h3", peer, down)
		port(res, peer, "h3", down)
	}
	res.Transfers[0].BitsPerSecond = 1200
	return verify.Evaluate(exp, res)
}

func TestTableOfAWorkingFabric(t *testing.T) {
	exp := verifytest.Three()
	golden(t, "works.txt", tableOf(t, verify.Evaluate(exp, verifytest.Results(exp)), false))
}

func TestTableOfABrokenFabric(t *testing.T) {
	golden(t, "broken.txt", tableOf(t, broken(), false))
}

func TestTableHasColorsOnlyIfAsked(t *testing.T) {
	if strings.Contains(string(tableOf(t, broken(), false)), "\x1b") {
		t.Error("escapes without color")
	}
	if !strings.Contains(string(tableOf(t, broken(), true)), "\x1b[31mFAIL\x1b[0m") {
		t.Error("no red FAIL with color")
	}
}

func TestTableOfManyHostsHasNoMatrixAndShortLists(t *testing.T) {
	exp := verifytest.Hosts(11)
	res := verifytest.Results(exp)
	res.Containers = nil
	lose(res.Pings.Small, involving(exp, "h3")...)
	table := string(tableOf(t, verify.Evaluate(exp, res), false))
	if strings.Contains(table, "ms from") {
		t.Errorf("a matrix of 11 hosts:\n%s", table)
	}
	if !strings.Contains(table, "h3→h7, 12 more: ") {
		t.Errorf("no short list:\n%s", table)
	}
}

func TestReportIsStableJSON(t *testing.T) {
	got, err := json.MarshalIndent(broken(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "broken.json", append(got, '\n'))
}
