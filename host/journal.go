package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ovsfabric/fabric/host/file"
)

func (h *Host) journalPath() string { return filepath.Join(h.Dir, "journal.json") }

func (h *Host) writeJournal(j journal) error {
	data, err := j.bytes()
	if err != nil {
		return err
	}
	// file.Write would let everybody look into a folder that it makes.
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return err
	}
	if err := file.SyncDir(filepath.Dir(h.Dir)); err != nil {
		return err
	}
	return file.Write(h.journalPath(), data, 0o600)
}

// readJournal returns nil where there is no journal.
func (h *Host) readJournal() (*journal, error) {
	if err := file.Guard(h.Dir); err != nil { // what it says is done as root
		return nil, err
	}
	data, err := os.ReadFile(h.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var j journal
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return nil, fmt.Errorf("%s: %w: an apply was interrupted here and its journal cannot be read; put the host right by hand and delete the file", h.journalPath(), err)
	}
	if j.Version != journalVersion {
		return nil, fmt.Errorf("%s has version %d, this program knows %d: finish with the program that wrote it", h.journalPath(), j.Version, journalVersion)
	}
	return &j, nil
}

// removeJournal also takes the folder away if nothing else is in it. What is
// left beside the journal goes first: without one, nobody comes back for it.
func (h *Host) removeJournal() error {
	if err := errors.Join(file.Sweep(h.journalPath()), file.Remove(h.journalPath())); err != nil {
		return err
	}
	if err := os.Remove(h.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}
