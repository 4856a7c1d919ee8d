package dockercfg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ownedKeys are the keys of daemon.json that the fabric sets, in the order
// in which it adds them.
var ownedKeys = []string{"bip", "bridge", "fixed-cidr", "mtu"}

func owned(key string) bool {
	for _, k := range ownedKeys {
		if k == key {
			return true
		}
	}
	return false
}

// A document is a JSON object cut into pieces that join to the same bytes
// again: open, the members, close. A document without members still has its
// two braces, in open and close.
type document struct {
	open    string // up to and with the opening brace
	members []member
	close   string // after the last member
}

// A member is one key of the object with the text around it.
type member struct {
	gap   string // from the end of the member before, with its comma
	name  string // the key, decoded
	key   string // the key as it stands
	colon string // between key and value
	value string // the value as it stands
}

const byteOrderMark = "\ufeff"

// blank says whether data configures nothing, as a file that does not exist.
func blank(data []byte) bool {
	return len(bytes.TrimSpace(data)) == 0
}

// parseOrNew is parse, and an empty object for blank data.
func parseOrNew(data []byte) (document, error) {
	if blank(data) {
		return document{open: "{", close: "}\n"}, nil
	}
	return parse(data)
}

// parse cuts data, which holds one JSON object. Its errors name line and
// column.
func parse(data []byte) (document, error) {
	bom := ""
	text := string(data)
	if strings.HasPrefix(text, byteOrderMark) {
		bom, text = byteOrderMark, text[len(byteOrderMark):]
	}
	if at := invalidUTF8(text); at >= 0 {
		return document{}, syntaxError(text, at, errors.New("this is not UTF-8 (RFC 8259, section 8.1)"))
	}
	var whole json.RawMessage
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		at := len(text)
		// The offset of a syntax error counts the offending byte.
		if e, ok := errors.AsType[*json.SyntaxError](err); ok && e.Offset > 0 && int(e.Offset) <= len(text) {
			at = int(e.Offset) - 1
		}
		return document{}, syntaxError(text, at, err)
	}
	s := scanner{text: text}
	s.space()
	if s.text[s.at] != '{' {
		return document{}, syntaxError(text, s.at, errors.New("this is not an object"))
	}
	s.at++
	doc := document{open: bom + text[:s.at]}
	for {
		gap := s.at
		s.space()
		if s.text[s.at] == ',' {
			s.at++
			s.space()
		}
		if s.text[s.at] == '}' {
			doc.close = text[gap:]
			return doc, nil
		}
		m := member{gap: text[gap:s.at]}
		m.key = s.take(s.value)
		m.colon = s.take(func() { s.space(); s.at++; s.space() })
		m.value = s.take(s.value)
		if err := json.Unmarshal([]byte(m.key), &m.name); err != nil {
			return document{}, syntaxError(text, gap+len(m.gap), err)
		}
		doc.members = append(doc.members, m)
	}
}

func invalidUTF8(text string) int {
	for i, r := range text {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
			return i
		}
	}
	return -1
}

func syntaxError(text string, at int, err error) error {
	before := text[:at]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Errorf("line %d, column %d: %w; the file is not touched", line, column, err)
}

// A scanner walks over text that is known to be valid JSON.
type scanner struct {
	text string
	at   int
}

func (s *scanner) take(step func()) string {
	from := s.at
	step()
	return s.text[from:s.at]
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

// value steps over a string, number, literal, array or object.
func (s *scanner) value() {
	depth := 0
	for {
		switch s.text[s.at] {
		case '"':
			s.quoted()
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			depth--
			s.at++
		case ',', ':', ' ', '\t', '\r', '\n':
			s.at++
		default:
			s.at += strings.IndexAny(s.text[s.at:], ",]} \t\r\n")
		}
		if depth == 0 {
			return
		}
	}
}

func (s *scanner) quoted() {
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

func (d document) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(d.open)
	for _, m := range d.members {
		b.WriteString(m.gap + m.key + m.colon + m.value)
	}
	b.WriteString(d.close)
	return b.Bytes()
}

// without is the document without the members that drop names. A gap goes
// with the member after it, so that what was added at the end leaves no
// trace; a document that loses all members is an empty one.
func (d document) without(drop func(i int, m member) bool) document {
	out := document{open: d.open, close: d.close}
	for i, m := range d.members {
		if drop(i, m) {
			continue
		}
		if len(out.members) == 0 {
			m.gap = d.members[0].gap
		}
		out.members = append(out.members, m)
	}
	if len(out.members) == 0 {
		out.close = strings.TrimLeft(out.close, " \t\r\n")
	}
	return out
}

// set gives each of the fabric's keys its value: where it stands, else at
// the end, in the manner of the member before. A key without a value is
// taken out.
func (d document) set(values map[string]string) document {
	seen := map[string]bool{}
	out := d.without(func(_ int, m member) bool {
		if !owned(m.name) {
			return false
		}
		again := seen[m.name]
		seen[m.name] = true
		return again || values[m.name] == ""
	})
	has := map[string]bool{}
	for i, m := range out.members {
		if owned(m.name) {
			out.members[i].value = values[m.name]
			has[m.name] = true
		}
	}
	for _, key := range ownedKeys {
		if values[key] != "" && !has[key] {
			out = out.add(key, values[key])
		}
	}
	return out
}

func (d document) add(key, value string) document {
	m := member{name: key, key: `"` + key + `"`, value: value}
	switch n := len(d.members); n {
	case 0:
		newline := "\n"
		if strings.Contains(d.open+d.close, "\r\n") {
			newline = "\r\n"
		}
		m.gap, m.colon = newline+"  ", ": "
		d.close = newline + strings.TrimLeft(d.close, " \t\r\n")
	case 1:
		only := d.members[0]
		m.gap, m.colon = ","+only.gap, only.colon
		if only.gap == "" && only.colon != ":" {
			m.gap = ", "
		}
	default:
		last := d.members[n-1]
		m.gap, m.colon = last.gap, last.colon
	}
	d.members = append(d.members, m)
	return d
}

// value is the text of the last member of that name, the one that counts
// for dockerd, or "".
func (d document) value(key string) string {
	value := ""
	for _, m := range d.members {
		if m.name == key {
			value = m.value
		}
	}
	return value
}
