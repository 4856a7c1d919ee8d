package topology

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reader turns YAML nodes into Go values and notes every problem on the way with its place, instead of stopping at the first.
type reader struct {
	file     string
	problems Problems
	anchors  map[string]ast.Node
	places   map[string]*token.Position // by path, for problems that are found after reading
	merges   int                        // how many mappings merge keys have brought
}

func newReader(file string) *reader {
	return &reader{file: file, anchors: map[string]ast.Node{}, places: map[string]*token.Position{}}
}

// maxMerges is more than a fabric of the largest size needs, and stops merge keys that multiply each other.
const maxMerges = 1 << 17

// value is a node of the file and its path. A value that the file does not have has no node.
type value struct {
	path string
	node ast.Node
}

func (v value) given() bool { return v.node != nil }

// entry is one key of a mapping and its value.
type entry struct {
	key string
	value
}

// report notes a problem at the place of a value that has been read, or of what it belongs to.
func (r *reader) report(path, message, hint string) {
	p := Problem{File: r.file, Path: path, Message: message, Hint: hint}
	for at := path; ; at = parent(at) {
		if pos := r.places[at]; pos != nil {
			p.Line, p.Column = pos.Line, pos.Column
			break
		}
		if at == "" {
			break
		}
	}
	r.problems = append(r.problems, p)
}

func (r *reader) errorf(v value, format string, args ...any) {
	r.report(v.path, fmt.Sprintf(format, args...), "")
}

func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// sorted returns the problems in the order of the file.
func (r *reader) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.problems
}

// document parses the file, which holds one YAML document.
func (r *reader) document(data []byte) (root value, ok bool) {
	const start = `"fabric init" writes a file to start from`
	if line := conflictLine(data); line > 0 {
		r.places[""] = &token.Position{Line: line, Column: 1}
		r.report("", "a merge conflict: keep what both sides want, and delete the marker lines (<<<<<<<, =======, >>>>>>>)", "")
		return value{}, false
	}
	file, err := parseYAML(data)
	if err != nil {
		p := Problem{File: r.file, Message: err.Error()}
		if syntax := (*yaml.SyntaxError)(nil); errors.As(err, &syntax) {
			p.Line, p.Column, p.Message = syntax.Token.Position.Line, syntax.Token.Position.Column, syntax.Message
		}
		r.problems = append(r.problems, p)
		return value{}, false
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.NullType && doc.Body.Type() != ast.CommentGroupType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		r.report("", "the file is empty", start)
		return value{}, false
	case len(bodies) > 1:
		r.places[""] = position(bodies[1])
		r.report("", "a second YAML document: a fabric is described by one", "")
		return value{}, false
	}
	r.places[""] = position(bodies[0])
	ast.Walk(r, bodies[0])
	return value{node: bodies[0]}, true
}

// conflictLine is the line, from 1, on which git's mark of a merge conflict begins; 0: there is none.
func conflictLine(data []byte) int {
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "<<<<<<< ") {
			return i + 1
		}
	}
	return 0
}

// Visit collects anchors.
func (r *reader) Visit(node ast.Node) ast.Visitor {
	if anchor, ok := node.(*ast.AnchorNode); ok && anchor.Name != nil {
		name := anchor.Name.GetToken().Value
		if _, ok := r.anchors[name]; ok {
			r.places["&"+name] = position(anchor)
			r.report("&"+name, "the anchor is defined twice", "")
		}
		r.anchors[name] = anchor.Value
	}
	return r
}

// position is where a node begins.
func position(node ast.Node) *token.Position {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	if tok := node.GetToken(); tok != nil && tok.Position != nil {
		return tok.Position
	}
	return &token.Position{Line: 1, Column: 1}
}

// resolve follows anchors, aliases and tags to the node that holds the value.
func (r *reader) resolve(v value) ast.Node {
	node := v.node
	for range 16 { // an alias may stand for an anchored alias, and in the end for itself
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.TagNode:
			node = n.Value
		case *ast.AliasNode:
			name := n.Value.GetToken().Value
			target, ok := r.anchors[name]
			if !ok {
				r.errorf(v, "no anchor &%s for the alias *%s", name, name)
				return nil
			}
			node = target
		default:
			return node
		}
	}
	r.errorf(v, "the alias leads back to itself")
	return nil
}

// entries reads a mapping whose keys are the user's, in the file's order, merge keys followed. Null is an empty mapping.
func (r *reader) entries(v value) []entry { return r.merged(v, 0) }

func (r *reader) merged(v value, depth int) []entry {
	if !v.given() {
		return nil
	}
	var pairs []*ast.MappingValueNode
	switch n := r.resolve(v).(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.errorf(v, "this wants a mapping (key: value), not %s", kind(n))
		return nil
	}
	var own, inherited []entry
	lines := make(map[string]int, len(pairs))
	for _, pair := range pairs {
		if pair.Key.IsMergeKey() {
			inherited = append(inherited, r.inherited(value{v.path + ".<<", pair.Value}, v.path, depth)...)
			continue
		}
		e := entry{key: keyText(pair.Key), value: value{node: pair.Value}}
		e.path = strings.TrimPrefix(v.path+"."+e.key, ".")
		if line, ok := lines[e.key]; ok {
			r.places[e.path] = position(pair.Key)
			r.errorf(e.value, "given twice, first on line %d", line)
			continue
		}
		lines[e.key] = position(pair.Key).Line
		r.places[e.path] = r.place(pair)
		own = append(own, e)
	}
	for _, e := range inherited {
		if _, ok := lines[e.key]; !ok {
			lines[e.key] = 0
			own = append(own, e)
		}
	}
	return own
}

// inherited reads what a merge key brings: a mapping, or a list of them of which the first wins.
func (r *reader) inherited(v value, into string, depth int) []entry {
	r.places[v.path] = position(v.node)
	if depth > 8 {
		r.errorf(v, "merge keys are nested more than 8 deep, or without end")
		return nil
	}
	sources := []ast.Node{v.node}
	if seq, ok := r.resolve(v).(*ast.SequenceNode); ok {
		sources = seq.Values
	}
	var all []entry
	for _, source := range sources {
		if r.merges++; r.merges > maxMerges {
			if r.merges == maxMerges+1 {
				r.errorf(v, "merge keys bring more than %d mappings", maxMerges)
			}
			break
		}
		all = append(all, r.merged(value{into, source}, depth+1)...)
	}
	return all
}

// place is where problems with a pair's value are shown: at a scalar itself, else at its key.
func (r *reader) place(pair *ast.MappingValueNode) *token.Position {
	switch pair.Value.(type) {
	case nil, *ast.NullNode, *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.AnchorNode:
		return position(pair.Key)
	}
	return position(pair.Value)
}

func keyText(key ast.MapKeyNode) string {
	if tok := key.GetToken(); tok != nil {
		return tok.Value
	}
	return ""
}

// fields reads a mapping whose keys are known.
func (r *reader) fields(v value, known ...string) map[string]value {
	fields := make(map[string]value, len(known))
	for _, e := range r.entries(v) {
		if !slices.Contains(known, e.key) {
			r.report(e.path, "unknown key", "known here: "+strings.Join(known, ", "))
			continue
		}
		fields[e.key] = e.value
	}
	for _, key := range known {
		if _, ok := fields[key]; !ok {
			fields[key] = value{path: strings.TrimPrefix(v.path+"."+key, ".")}
		}
	}
	return fields
}

// list reads a sequence. Null is an empty one.
func (r *reader) list(v value) []value {
	if !v.given() {
		return nil
	}
	var items []value
	switch n := r.resolve(v).(type) {
	case nil, *ast.NullNode:
	case *ast.SequenceNode:
		for i, node := range n.Values {
			item := value{fmt.Sprintf("%s[%d]", v.path, i), node}
			r.places[item.path] = position(node)
			items = append(items, item)
		}
	default:
		r.errorf(v, "this wants a list, not %s", kind(n))
	}
	return items
}

// text reads a string; other scalars are refused, since YAML has changed them before anybody could read them (1.10, 0x1f, no).
func (r *reader) text(v value) (string, bool) {
	if !v.given() {
		return "", false
	}
	switch n := r.resolve(v).(type) {
	case nil:
		return "", false
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		r.report(v.path, fmt.Sprintf("this wants text, not %s", kind(n)), fmt.Sprintf("put it in quotes: %q", n.GetToken().Value))
	default:
		r.errorf(v, "this wants text, not %s", kind(n))
	}
	return "", false
}

// integer reads a whole number from low to high, and gives absent for a value that is not there.
func (r *reader) integer(v value, low, high, absent int) int {
	if !v.given() {
		return absent
	}
	node := r.resolve(v)
	if node == nil {
		return absent
	}
	if n, ok := node.(*ast.IntegerNode); ok {
		switch i := n.Value.(type) {
		case int64:
			if int64(low) <= i && i <= int64(high) {
				return int(i)
			}
		case uint64:
			if i <= uint64(high) && int(i) >= low {
				return int(i)
			}
		}
		r.errorf(v, "%s is not in the range %d to %d", n.GetToken().Value, low, high)
		return absent
	}
	r.errorf(v, "this wants a whole number from %d to %d, not %s", low, high, kind(node))
	return absent
}

// boolean reads true or false.
func (r *reader) boolean(v value) (b, ok bool) {
	if !v.given() {
		return false, false
	}
	node := r.resolve(v)
	if n, ok := node.(*ast.BoolNode); ok {
		return n.Value, true
	}
	if node != nil {
		r.errorf(v, "this wants true or false, not %s", kind(node))
	}
	return false, false
}

// oneOf reads a string that is one of choices, the first of which is the default.
func oneOf[T ~string](r *reader, v value, choices ...T) T {
	s, ok := r.text(v)
	if ok && !slices.Contains(choices, T(s)) {
		names := make([]string, len(choices))
		for i, c := range choices {
			names[i] = string(c)
		}
		r.errorf(v, "%q is none of %s", s, strings.Join(names, ", "))
	}
	if !ok || !slices.Contains(choices, T(s)) {
		return choices[0]
	}
	return T(s)
}

// kind names what a node is, for people.
func kind(node ast.Node) string {
	switch n := node.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return "the truth value " + n.GetToken().Value
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	}
	return "a " + strings.ToLower(node.Type().String())
}
