// Package ipam divides the fabric's network among its hosts so that no host's range ever moves.
package ipam

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ovsfabric/fabric/internal/natural"
)

// Lock is what must not move from one plan to the next.
type Lock struct {
	Network netip.Prefix
	Hosts   []Entry // in natural order of their names
	Removed []Entry // hosts that are gone, in the same order; their ranges and IDs stay theirs
}

// Entry is what a host keeps.
type Entry struct {
	Name     string
	ID       int // 1 to MaxID, unique in the lock; bridge identity and port numbers derive from it
	Range    netip.Prefix
	Address  netip.Addr // the host's own, of a host that was adopted with one; the zero Addr: Gateway of Range
	SSH      string     // ssh destination, as ops@192.0.2.11:22, where a removed host can be reached for its tear-down
	TornDown bool       // of removed hosts only: nothing of the fabric is left there
}

// MaxID is the largest host ID: a bridge's address has 16 bits for it.
const MaxID = 1<<16 - 1

// header explains the file to whoever meets it in a review or a merge.
const header = `# The ranges and identities of the fabric's hosts, which never move. fabric writes this file: commit it beside fabric.yaml,
# do not edit it. In a merge conflict keep one side as it is and run "fabric apply": it adds what the other side had.
version 1
`

// Bytes is the lock file's content; the same lock gives the same bytes.
func (l Lock) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(header)
	if l.Network.IsValid() {
		fmt.Fprintf(&b, "network %s\n", l.Network)
	}
	for _, e := range inOrder(l.Hosts) {
		e.write(&b, "host")
	}
	for _, e := range inOrder(l.Removed) {
		e.write(&b, "removed")
	}
	return b.Bytes()
}

func (e Entry) write(b *bytes.Buffer, kind string) {
	fmt.Fprintf(b, "%s %s id=%d range=%s", kind, e.Name, e.ID, e.Range)
	if e.Address.IsValid() {
		fmt.Fprintf(b, " address=%s", e.Address)
	}
	if e.SSH != "" {
		fmt.Fprintf(b, " ssh=%s", e.SSH)
	}
	if e.TornDown {
		b.WriteString(" torn-down=yes")
	}
	b.WriteByte('\n')
}

// Gateway is the host's own address in the network, which its containers route by.
func (e Entry) Gateway() netip.Addr {
	if e.Address.IsValid() {
		return e.Address
	}
	return Gateway(e.Range)
}

// Entry returns what the lock keeps for a host, removed ones included.
func (l Lock) Entry(name string) (Entry, bool) {
	for _, entries := range [][]Entry{l.Hosts, l.Removed} {
		if i, ok := slices.BinarySearchFunc(entries, name, func(e Entry, name string) int {
			return natural.Compare(e.Name, name)
		}); ok {
			return entries[i], true
		}
	}
	return Entry{}, false
}

// Release gives up what is reserved for a removed host. A host that is still in the fabric is an error.
func (l Lock) Release(name string) (Lock, error) {
	i := slices.IndexFunc(l.Removed, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return l, fmt.Errorf("%s is not a removed host: take it out of the fabric file and apply that before its range can be released", name)
	}
	l.Removed = slices.Delete(slices.Clone(l.Removed), i, i+1)
	return l, nil
}

func inOrder(entries []Entry) []Entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return natural.Compare(a.Name, b.Name) })
}
