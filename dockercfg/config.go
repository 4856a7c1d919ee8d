// Package dockercfg is Docker's part of a host: it edits daemon.json as
// bytes, and asks, stops and starts dockerd.
package dockercfg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/ovsfabric/fabric/plan"
)

// Read returns what a daemon.json sets of the fabric's keys. Data that is
// empty or white space is a file that does not exist. Anything but a JSON
// object is an error that names line and column. Keys are told apart by
// case, and of a key that stands twice the last counts, as dockerd has it.
func Read(data []byte) (plan.DockerConfig, error) {
	doc, err := parseOrNew(data)
	if err != nil {
		return plan.DockerConfig{}, err
	}
	return doc.config()
}

func (d document) config() (c plan.DockerConfig, err error) {
	targets := map[string]any{"bip": &c.BIP, "bridge": &c.Bridge, "fixed-cidr": &c.FixedCIDR, "mtu": &c.MTU}
	for _, key := range ownedKeys {
		value := d.value(key)
		if value == "" {
			continue
		}
		if err := json.Unmarshal([]byte(value), targets[key]); err != nil {
			return plan.DockerConfig{}, fmt.Errorf("%q is %s, which dockerd does not take: %w; the file is not touched", key, value, err)
		}
	}
	return c, nil
}

// Merge sets the fabric's keys as wanted and takes out those that are zero.
// Everything else keeps its bytes, its place and its formatting. Without
// data it makes a new file, or returns data if there is nothing to set. Data
// that Read refuses is an error.
func Merge(data []byte, want plan.DockerConfig) ([]byte, error) {
	if blank(data) && want == (plan.DockerConfig{}) {
		return data, nil
	}
	doc, err := parseOrNew(data)
	if err != nil {
		return nil, err
	}
	have, err := doc.config()
	if err != nil {
		return nil, err
	}
	values := texts(want)
	for key, had := range texts(have) {
		if values[key] == had && had != "" {
			values[key] = doc.value(key)
		}
	}
	return doc.set(values).bytes(), nil
}

// texts returns the values of the keys that c sets, as JSON.
func texts(c plan.DockerConfig) map[string]string {
	values := map[string]string{}
	for key, s := range map[string]string{"bip": c.BIP, "bridge": c.Bridge, "fixed-cidr": c.FixedCIDR} {
		if s != "" {
			values[key] = quote(s)
		}
	}
	if c.MTU != 0 {
		values["mtu"] = strconv.Itoa(c.MTU)
	}
	return values
}

func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// A string always has an encoding.
	_ = e.Encode(s)
	return string(bytes.TrimSpace(b.Bytes()))
}

// Restore returns what daemon.json shall be without the fabric, out of what
// it is now and what it was before the fabric first changed it. If nothing
// but the fabric's keys has changed since, that is the original, byte for
// byte; else it is the current file with the original's values of those
// keys. remove says that there shall be no file: there was none, or somebody
// has deleted it since, and nothing is left to keep one for.
func Restore(current, original []byte, existed bool) (out []byte, remove bool, err error) {
	if !existed {
		original = nil
	}
	was, err := parseOrNew(original)
	if err != nil {
		return nil, false, fmt.Errorf("the original: %w", err)
	}
	now, err := parseOrNew(current)
	if err != nil {
		return nil, false, err
	}
	others, othersWere := now.others(), was.others()
	if len(others.members)+len(othersWere.members) == 0 || bytes.Equal(others.bytes(), othersWere.bytes()) {
		return original, !existed, nil
	}
	values := map[string]string{}
	for _, key := range ownedKeys {
		values[key] = was.value(key)
	}
	restored := now.set(values)
	if blank(current) && len(restored.members) == 0 {
		return nil, true, nil
	}
	return restored.bytes(), false, nil
}

// others is the document without the fabric's keys.
func (d document) others() document {
	return d.without(func(_ int, m member) bool { return owned(m.name) })
}
