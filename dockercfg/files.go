package dockercfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/plan"
)

// A record keeps what a host was before the fabric first changed its
// daemon.json. While it exists the keys in the file are the fabric's.
type record struct {
	Existed bool    `json:"existed"`
	Content string  `json:"content"` // UTF-8: parse takes nothing else
	Ran     *former `json:"ran,omitempty"`
	// Adopted is daemon.json as somebody had made it by hand for what the
	// fabric is. Content is then without that, so that the fabric leaves a
	// host without any.
	Adopted string `json:"adopted,omitempty"`
}

// A former is how dockerd ran its default bridge network.
type former struct {
	Address netip.Prefix    `json:"address"` // of the bridge
	Live    plan.DockerLive `json:"live"`
}

// A pause is what to bring back after dockerd was stopped. It is kept in a
// file, so that it outlives the process that stopped dockerd.
type pause struct {
	Ran        *former   `json:"ran,omitempty"`
	Containers []stopped `json:"containers"` // oldest first: a container may share the network of an older one
}

type stopped struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (r *Resource) pausePath() string {
	return filepath.Join(filepath.Dir(r.paths.Record), "docker-stopped.json")
}

// readJSON fills v from the file at path and says whether there is one.
func readJSON(path string, v any) (exists bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return true, nil
}

// writeJSON keeps v for root alone: daemon.json can hold a proxy's password.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return file.Write(path, append(data, '\n'), 0o600)
}

// A configFile is daemon.json as it is on the disk.
type configFile struct {
	exists bool
	data   []byte
	mode   fs.FileMode
}

func (r *Resource) load() (configFile, error) {
	data, err := os.ReadFile(r.paths.DaemonJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return configFile{mode: 0o644}, nil
	}
	if err != nil {
		return configFile{}, err
	}
	info, err := os.Stat(r.paths.DaemonJSON)
	if err != nil {
		return configFile{}, err
	}
	return configFile{exists: true, data: data, mode: info.Mode()}, nil
}

// store has daemon.json hold data, or not exist for data that configures
// nothing and no file before.
func (r *Resource) store(before configFile, data []byte, remove bool) error {
	switch {
	case remove:
		return file.Remove(r.paths.DaemonJSON)
	case before.exists && bytes.Equal(before.data, data):
		return nil
	default:
		return file.Write(r.paths.DaemonJSON, data, before.mode)
	}
}
