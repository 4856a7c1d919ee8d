package remote

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/ovsfabric/fabric/internal/build"
)

// Programs finds the fabric binary for a host's architecture: the running
// one, or one beside it named fabric-linux-ARCH.
type Programs struct {
	executable string
	mu         sync.Mutex
	found      map[string]*Program
}

// Program is a fabric binary.
type Program struct {
	Build  string // as build.ID tells builds apart
	Size   int64  // bytes
	Packed func() ([]byte, error)
}

// NewPrograms takes the path of the running binary.
func NewPrograms(executable string) *Programs {
	return &Programs{executable: executable, found: make(map[string]*Program)}
}

// For returns the program for an architecture as Go names it.
func (p *Programs) For(arch string) (*Program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if program, ok := p.found[arch]; ok {
		return program, nil
	}
	path := p.executable
	other := arch != runtime.GOARCH || runtime.GOOS != "linux"
	if other {
		path = filepath.Join(filepath.Dir(path), "fabric-linux-"+arch)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("no fabric binary for %s: %w", arch, err)
	}
	if other { // the running one was looked at before any host was
		if err := build.Portable(path); err != nil {
			return nil, err
		}
	}
	id, err := build.ID(path)
	if err != nil {
		return nil, fmt.Errorf("tell the build of the fabric binary for %s: %w", arch, err)
	}
	program := &Program{
		Build:  id,
		Size:   info.Size(),
		Packed: sync.OnceValues(func() ([]byte, error) { return pack(path) }),
	}
	p.found[arch] = program
	return program, nil
}

// Builds returns the build of each program used so far, by architecture.
func (p *Programs) Builds() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	builds := make(map[string]string, len(p.found))
	for arch, program := range p.found {
		builds[arch] = program.Build
	}
	return builds
}

// pack compresses a program while an operator waits for it: the library's
// fastest level takes a third of the standard library's time.
func pack(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(z, f); err != nil {
		return nil, fmt.Errorf("pack %s: %w", path, err)
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
