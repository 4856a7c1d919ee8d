package ipam_test

import (
	"go/build"
	"slices"
	"strings"
	"testing"
)

// TestImportsArePure keeps out whatever would make a result depend on more than the arguments.
func TestImportsArePure(t *testing.T) {
	allowed := []string{
		"bytes", "cmp", "encoding/binary", "errors", "fmt", "math/bits", "net/netip", "regexp", "slices", "strconv", "strings", "unicode",
		"github.com/ovsfabric/fabric/internal/natural",
	}
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pkg.Imports {
		if !slices.Contains(allowed, path) {
			t.Errorf("imports %s; allowed: %s", path, strings.Join(allowed, ", "))
		}
	}
}
