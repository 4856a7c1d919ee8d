package ipam

import (
	"fmt"
	"slices"
)

// rename returns the lock with the entries of renamed hosts under their new names, which come in natural order. A former name
// that the lock does not have, or whose host is in the lock by its new name already, means nothing: the key can stay in the
// file after it has done its work.
func rename(lock Lock, hosts []Want) (Lock, Conflicts) {
	wanted := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		wanted[h.Name] = true
	}
	to := map[string]string{} // new names by former ones
	var conflicts Conflicts
	find := func(host, format string, args ...any) {
		conflicts = append(conflicts, Conflict{"hosts." + host + ".was", fmt.Sprintf(format, args...)})
	}
	for _, h := range hosts {
		switch {
		case h.Was == "":
		case wanted[h.Was]:
			find(h.Name, "host %s was %s, and there is a host %s still: a renamed host is wanted by its new name only", h.Name, h.Was, h.Was)
		case to[h.Was] != "":
			find(h.Name, "hosts %s and %s both were %s: only one of them can keep its range", to[h.Was], h.Name, h.Was)
		default:
			to[h.Was] = h.Name
			_, known := lock.Entry(h.Was)
			if e, own := lock.Entry(h.Name); own && known && !holds(lock.Hosts, h.Name) {
				find(h.Name, `host %s was %s, and %s is reserved for a removed host %s: "fabric release %s" frees that, and without the former name the host has it again`,
					h.Name, h.Was, e.Range, h.Name, h.Name)
			}
		}
	}
	if len(conflicts) > 0 || len(to) == 0 {
		return lock, conflicts
	}
	renamed := func(entries []Entry) []Entry {
		entries = slices.Clone(entries)
		for i, e := range entries {
			if name := to[e.Name]; name != "" && !holds(lock.Hosts, name) {
				entries[i].Name = name
			}
		}
		return inOrder(entries)
	}
	return Lock{Network: lock.Network, Hosts: renamed(lock.Hosts), Removed: renamed(lock.Removed)}, nil
}

func holds(entries []Entry, name string) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == name })
}
