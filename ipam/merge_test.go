package ipam_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ovsfabric/fabric/ipam"
)

// merge has two branches of a git repository each add a host to a lock of h1 to h3, and gives the lock that git merges them to.
func merge(t *testing.T, ours, theirs string) (merged string, conflict bool) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "fabric.lock")
	git := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.net", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.net")
		out, err := cmd.CombinedOutput()
		t.Logf("git %s: %s", strings.Join(args, " "), out)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before := assign(t, network, ipam.Lock{}, "h1", "h2", "h3")
	commit := func(lock ipam.Lock) {
		must(os.WriteFile(file, lock.Bytes(), 0o600))
		must(git("add", "fabric.lock"))
		must(git("commit", "-q", "-m", "lock"))
	}
	must(git("init", "-q", "-b", "main"))
	commit(before)
	must(git("checkout", "-q", "-b", "theirs"))
	commit(assign(t, network, before, "h1", "h2", "h3", theirs))
	must(git("checkout", "-q", "main"))
	commit(assign(t, network, before, "h1", "h2", "h3", ours))
	conflict = git("merge", "-q", "--no-edit", "theirs") != nil
	data, err := os.ReadFile(file)
	must(err)
	return string(data), conflict
}

func TestMergeOfNeighboursIsConflictThatSaysWhatToDo(t *testing.T) {
	merged, conflict := merge(t, "h4", "h5")
	if !conflict {
		t.Fatalf("git merged without a conflict:\n%s", merged)
	}
	const want = `host h3 id=3 range=172.17.128.0/18
<<<<<<< HEAD
host h4 id=4 range=172.17.192.0/20
=======
host h5 id=4 range=172.17.192.0/20
>>>>>>> theirs
`
	if !strings.HasSuffix(merged, want) {
		t.Errorf("the conflict is not one between the two hosts:\n%s", merged)
	}
	_, err := ipam.ParseLock("fabric.lock", []byte(merged))
	if err == nil || !strings.Contains(err.Error(), `a merge conflict: keep one of the two sides as it is, delete the marker lines (<<<<<<<, =======, >>>>>>>) and run "fabric apply"`) {
		t.Errorf("error %v does not say what to do", err)
	}
}

func TestMergeWithoutConflictIsFoundByItsOverlap(t *testing.T) {
	merged, conflict := merge(t, "a1", "h9")
	if conflict {
		t.Fatalf("git sees a conflict:\n%s", merged)
	}
	_, err := ipam.ParseLock("fabric.lock", []byte(merged))
	if err == nil {
		t.Fatalf("no error in:\n%s", merged)
	}
	for _, want := range []string{
		"h9 has the id of a1 on line", "h9: range 172.17.192.0/20 overlaps 172.17.192.0/20 of a1 on line",
		`delete one of the two lines and run "fabric apply" to add that host again`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

// TestMergeConflictIsResolvedByOneSide follows the advice of the error.
func TestMergeConflictIsResolvedByOneSide(t *testing.T) {
	lock := assign(t, network, assign(t, network, ipam.Lock{}, "h1", "h2", "h3"), "h1", "h2", "h3", "h4")
	both := assign(t, network, lock, "h1", "h2", "h3", "h4", "h5")
	for _, e := range lock.Hosts {
		if kept, _ := both.Entry(e.Name); kept != e {
			t.Errorf("%s had %v and has %v", e.Name, e, kept)
		}
	}
	if e, ok := both.Entry("h5"); !ok || !e.Range.IsValid() {
		t.Errorf("the other side's host has %v", e)
	}
}
