// Package printable makes what others say fit for a terminal.
package printable

import (
	"fmt"
	"strings"
	"unicode"
)

// Text returns s with every character that a terminal could obey instead of
// showing it written out, as \x1b or \u202e. Newlines and tabs stay. What is
// clean already is returned as it is.
func Text(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

// Line is Text for what has to stay on one line: newlines and tabs are
// written out too.
func Line(s string) string {
	return escape(s, func(rune) bool { return false })
}

// JSON is JSON text with the same characters as \u escapes. It may have
// white space between its tokens.
func JSON(data []byte) []byte {
	if !strings.ContainsFunc(string(data), obeyed) {
		return data
	}
	var b strings.Builder
	for _, r := range string(data) {
		switch {
		case r == '\n' || r == '\t' || !obeyed(r):
			b.WriteRune(r)
		case r > 0xffff: // two surrogates, RFC 8259 section 7
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

func escape(s string, stays func(rune) bool) string {
	harmless := func(r rune) bool { return stays(r) || !obeyed(r) }
	if !strings.ContainsFunc(s, func(r rune) bool { return !harmless(r) }) {
		return strings.ToValidUTF8(s, "\ufffd") // a lone byte 0x9b begins a control sequence
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case harmless(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// obeyed says whether a character acts on a terminal: the control characters
// of ECMA-48, C0 and C1, and the invisible ones of Unicode that turn the
// direction of text or hide in it (category Cf, and the line separators).
func obeyed(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
