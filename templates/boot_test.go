package templates

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheFilesAreThoseOfTheGoldenFile(t *testing.T) {
	var b strings.Builder
	for _, f := range Boot(BootParams{HostFile: []byte("{\"version\": 1}\n"), Switches: []string{"fab-default"}}) {
		b.WriteString("== " + f.Path + "\n" + f.Content)
	}
	for _, unit := range []string{WatchUnit, RecoverUnit} {
		f := Guard(unit)
		b.WriteString("== " + f.Path + "\n" + f.Content)
	}
	const golden = "testdata/boot.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got; -update accepts it):\n%s", diff)
	}
}

func TestEveryFileIsMarkedButJSON(t *testing.T) {
	for _, f := range append(Boot(BootParams{Switches: []string{"fab-default"}}), Guard(WatchUnit), Guard(RecoverUnit)) {
		if f.Path != HostFile && !strings.HasPrefix(f.Content, Marker+"\n") {
			t.Errorf("%s does not begin with %q", f.Path, Marker)
		}
	}
}

func TestPathsAreSorted(t *testing.T) {
	if !slices.IsSorted(Paths()) {
		t.Errorf("not sorted: %q", Paths())
	}
}
