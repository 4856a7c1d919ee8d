package build_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ovsfabric/fabric/internal/build"
)

// made builds a program that prints text.
func made(t *testing.T, text string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := "package main\n\nfunc main() { println(\"" + text + "\") }\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath"}, flags...), "-o", "program", "main.go")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "program")
}

func id(t *testing.T, path string) string {
	t.Helper()
	got, err := build.ID(path)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBuildsOfOneSourceAreTheSame(t *testing.T) {
	if a, b := id(t, made(t, "one")), id(t, made(t, "one")); a != b || a == "" {
		t.Errorf("%q and %q, want the same", a, b)
	}
}

func TestBuildsOfOtherSourcesDiffer(t *testing.T) {
	for _, flags := range [][]string{
		nil,
		{"-ldflags=-buildid="},                 // as some distributions build
		{"-ldflags=-buildid=the/same/for/all"}, // not a hash
	} {
		if a, b := id(t, made(t, "one", flags...)), id(t, made(t, "two", flags...)); a == b {
			t.Errorf("%v: both builds are %s", flags, a)
		}
	}
}

func TestWhatIsNoProgramIsToldByItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if got := id(t, path); got != "" {
		t.Errorf("no file: %q, want nothing", got)
	}
	if err := os.WriteFile(path, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	if got := id(t, path); got != sum {
		t.Errorf("%s, want %s", got, sum)
	}
}

func TestAProgramThatIsLinkedDynamicallyIsNotPortable(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	if err := build.Portable(made(t, "static")); err != nil {
		t.Errorf("a static program: %v", err)
	}
	// A position-independent program asks for a loader, also where there is no C
	// compiler here to build one as cgo does.
	err := build.Portable(made(t, "dynamic", "-buildmode=pie"))
	if err == nil || !strings.Contains(err.Error(), "is linked dynamically (its loader is /lib") || !strings.Contains(err.Error(), "CGO_ENABLED=0 go build ./cmd/fabric") {
		t.Errorf("error %v, want one that says so and how to build it", err)
	}
}
