package remote

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
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
	Sum    string // SHA-256, hex
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
	if arch != runtime.GOARCH || runtime.GOOS != "linux" {
		path = filepath.Join(filepath.Dir(path), "fabric-linux-"+arch)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("no fabric binary for %s: %w", arch, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	program := &Program{
		Sum:    hex.EncodeToString(sum.Sum(nil)),
		Packed: sync.OnceValues(func() ([]byte, error) { return pack(path) }),
	}
	p.found[arch] = program
	return program, nil
}

// Sums returns the checksum of each program used so far, by architecture.
func (p *Programs) Sums() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	sums := make(map[string]string, len(p.found))
	for arch, program := range p.found {
		sums[arch] = program.Sum
	}
	return sums
}

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
