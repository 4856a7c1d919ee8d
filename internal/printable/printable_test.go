package printable_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ovsfabric/fabric/internal/printable"
)

func TestWhatATerminalObeysIsWrittenOut(t *testing.T) {
	for _, tc := range []struct{ said, text, line string }{
		{"dockerd restarts: h2–h3 größer 網", "dockerd restarts: h2–h3 größer 網", "dockerd restarts: h2–h3 größer 網"},
		{"two\nlines\tand a tab", "two\nlines\tand a tab", `two\x0alines\x09and a tab`},
		{"\x1b[2Jgone", `\x1b[2Jgone`, `\x1b[2Jgone`},
		{"a\rb\b\x7f", `a\x0db\x08\x7f`, `a\x0db\x08\x7f`},
		{"\u009b31m", `\x9b31m`, `\x9b31m`},
		{"\u202egnp.exe", `\u202egnp.exe`, `\u202egnp.exe`},
		{"\U000e0041", `\U000e0041`, `\U000e0041`},
		{"\x9b31m", "\ufffd31m", "\ufffd31m"},
		{"\x1b\x9b31m", "\\x1b\ufffd31m", "\\x1b\ufffd31m"},
	} {
		if got := printable.Text(tc.said); got != tc.text {
			t.Errorf("Text(%q) = %q, want %q", tc.said, got, tc.text)
		}
		if got := printable.Line(tc.said); got != tc.line {
			t.Errorf("Line(%q) = %q, want %q", tc.said, got, tc.line)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"", "h1: ok\n", "\x1b]0;title\a", "\u009b2J", "\u202e\U000e0041", "\x9b\xff", `"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, shown := range []string{printable.Line(s), strings.NewReplacer("\n", "", "\t", "").Replace(printable.Text(s))} {
			if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool {
				return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
			}) {
				t.Errorf("%q is shown as %q", s, shown)
			}
		}
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		safe := printable.JSON(encoded)
		if strings.ContainsFunc(string(safe), unicode.IsControl) {
			t.Errorf("%q is encoded as %q", s, safe)
		}
		var before, after string
		if err := json.Unmarshal(encoded, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &after); err != nil || before != after {
			t.Errorf("%q becomes %q, %v", before, after, err)
		}
	})
}
