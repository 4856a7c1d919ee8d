package link

import (
	"net/netip"
	"strings"
)

// mark is what a bridge's alias says: whose it is, and which of its addresses
// the fabric put there.
type mark struct {
	owner     string
	addresses []netip.Prefix
}

const markPrefix = "fabric="

// parseMark reads an alias. It is false for an alias of somebody else.
func parseMark(alias string) (mark, bool) {
	words := strings.Fields(alias)
	if len(words) == 0 || !strings.HasPrefix(words[0], markPrefix) {
		return mark{}, false
	}
	m := mark{owner: strings.TrimPrefix(words[0], markPrefix)}
	for _, w := range words[1:] {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			return mark{}, false
		}
		m.addresses = append(m.addresses, p)
	}
	return m, true
}

func (m mark) String() string {
	var b strings.Builder
	b.WriteString(markPrefix + m.owner)
	for _, p := range m.addresses {
		b.WriteString(" " + p.String())
	}
	return b.String()
}
