// Package build tells one build of a program from another.
package build

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
)

// ID returns what no program of another content has, in letters, digits, "-",
// "_" and "/", and "" if there is no file: the build ID that Go's linker leaves
// in a program, a part of which is a hash of what was linked, or the file's
// SHA-256 in hex where it has none. To sum up some 20 MB would be most of what
// a host has to do to find that nothing is to be done.
func ID(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if linked := linkedID(f); linked != nil {
		return string(linked), nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// complete is a build ID as cmd/go gives it to a program: the hashes of what
// went into the linking and of what came out are its ends. Whoever builds may
// set another (cmd/link, -buildid), which says nothing of the content.
var complete = regexp.MustCompile(`^[\w-]{20}/[\w-]{20}/[\w-]{20}/[\w-]{20}$`)

// linkedID returns the build ID that Go's linker has left in a program, nil
// if f is no such program.
func linkedID(f io.ReaderAt) []byte {
	program, err := elf.NewFile(f)
	if err != nil {
		return nil
	}
	section := program.Section(".note.go.buildid")
	if section == nil {
		return nil
	}
	data, err := section.Data()
	if err != nil {
		return nil
	}
	_, id, _ := bytes.Cut(data, []byte("Go\x00\x00")) // the note's name
	id = bytes.TrimRight(id, "\x00")
	if !complete.Match(id) {
		return nil
	}
	return id
}
