package topology_test

import (
	"go/build"
	"slices"
	"testing"
)

// TestImportsArePure keeps out whatever would make a result depend on more than the arguments.
func TestImportsArePure(t *testing.T) {
	allowed := []string{
		"bytes", "cmp", "crypto/sha256", "encoding/binary", "errors", "fmt", "iter", "math", "math/bits", "net/netip", "regexp", "slices", "strconv", "strings", "unicode",
		"github.com/goccy/go-yaml", "github.com/goccy/go-yaml/ast", "github.com/goccy/go-yaml/lexer", "github.com/goccy/go-yaml/parser", "github.com/goccy/go-yaml/token",
		"github.com/ovsfabric/fabric/internal/natural", "github.com/ovsfabric/fabric/internal/printable", "github.com/ovsfabric/fabric/internal/sshword",
	}
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pkg.Imports {
		if !slices.Contains(allowed, path) {
			t.Errorf("imports %s, which is not on the list of pure packages", path)
		}
	}
}
