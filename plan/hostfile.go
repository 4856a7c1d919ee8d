package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// HostFile is what a host keeps of its own part on disk, so that it can make
// its links again at boot without anybody's help.
type HostFile struct {
	Version int    `json:"version"` // HostFileVersion
	Fabric  string `json:"fabric"`  // the fabric's name; also marks the file as the fabric's
	Links   Links  `json:"links"`
}

// HostFileVersion is the version that this program writes and reads.
const HostFileVersion = 1

// Encode returns the file's content: the same bytes for the same value.
func (f HostFile) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// DecodeHostFile reads what Encode wrote and nothing else: an unknown field,
// another version or a value that cannot be right is an error.
func DecodeHostFile(data []byte) (HostFile, error) {
	var f HostFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return HostFile{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return HostFile{}, errors.New("more data after the JSON value")
	}
	if f.Version != HostFileVersion {
		return HostFile{}, fmt.Errorf("version %d, but this program reads version %d", f.Version, HostFileVersion)
	}
	if err := errors.Join(f.problems()...); err != nil {
		return HostFile{}, err
	}
	return f, nil
}

func (f HostFile) problems() []error {
	var found []error
	problem := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	l := f.Links
	if f.Fabric == "" {
		problem("fabric: empty")
	}
	if l.Owner != f.Fabric {
		problem("links.owner: %q is not the fabric %q", l.Owner, f.Fabric)
	}
	// What the kernel takes for a link's name: dev_valid_name in net/core/dev.c.
	if l.Name == "" || len(l.Name) > 15 || l.Name == "." || l.Name == ".." || strings.ContainsAny(l.Name, "/: \t\n\v\f\r") {
		problem("links.name: %q cannot be a link's name", l.Name)
	}
	if mac, err := net.ParseMAC(l.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		problem("links.mac: %q is not a host's MAC address", l.MAC)
	}
	// 68 is the least that IPv4 works with, RFC 791 section 3.2.
	if l.MTU < 68 || l.MTU > 65535 {
		problem("links.mtu: %d is not between 68 and 65535", l.MTU)
	}
	if !l.Address.IsValid() || !l.Address.Addr().Is4() {
		problem("links.address: %s is not an IPv4 address with its network's length", l.Address)
	}
	if members := Members(); !slices.Contains(members, l.Member) {
		problem("links.member: %q is not %s", l.Member, strings.Join(members, " or "))
	}
	if !l.Up {
		problem("links.up: false")
	}
	return found
}
