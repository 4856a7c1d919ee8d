package topology

import (
	"errors"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML keeps a panic of the YAML library from being the answer to a malformed file.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("this is not YAML")
		}
	}()
	tokens := slices.DeleteFunc(lexer.Tokenize(string(data)), func(t *token.Token) bool { return t.Type == token.CommentType })
	if file := parseInParts(tokens); file != nil {
		return file, nil
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// partSize is how many hosts are parsed at once.
const partSize = 64

// parseInParts parses a file of many hosts a part of them at a time, since the library copies the rest of a block mapping at
// each of its keys. It returns nil where a file is too small to gain from it, or in any way unusual, or wrong.
func parseInParts(tokens token.Tokens) *ast.File {
	starts := hostStarts(tokens)
	if len(starts) < 2*partSize {
		return nil
	}
	first, end := starts[partSize], starts[len(starts)-1]
	file, err := parser.Parse(slices.Concat(tokens[:first], tokens[end:]), 0, parser.AllowDuplicateMapKey())
	if err != nil || len(file.Docs) != 1 {
		return nil
	}
	hosts := hostsOf(file.Docs[0].Body)
	if hosts == nil || len(hosts.Values) != partSize {
		return nil
	}
	starts = starts[partSize:]
	for len(starts) > 1 {
		n := min(partSize, len(starts)-1)
		part, err := parser.Parse(tokens[starts[0]:starts[n]], 0, parser.AllowDuplicateMapKey())
		if err != nil || len(part.Docs) != 1 {
			return nil
		}
		m, ok := part.Docs[0].Body.(*ast.MappingNode)
		if !ok || len(m.Values) != n {
			return nil
		}
		hosts.Values = append(hosts.Values, m.Values...)
		starts = starts[n:]
	}
	return file
}

// hostStarts finds the tokens that begin an entry of the top-level block mapping "hosts", and the one after its last entry.
func hostStarts(tokens token.Tokens) []int {
	key := slices.IndexFunc(tokens, func(t *token.Token) bool {
		return t.Value == "hosts" && t.Type == token.StringType && t.Position.Column == 1
	})
	if key < 0 || key+2 >= len(tokens) || tokens[key+1].Type != token.MappingValueType {
		return nil
	}
	column, flow := tokens[key+2].Position.Column, 0
	if tokens[key+2].Position.Line == tokens[key].Position.Line || column == 1 {
		return nil
	}
	var starts []int
	for i := key + 2; i < len(tokens); i++ {
		t := tokens[i]
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.StringType:
			if flow > 0 || i+1 == len(tokens) || tokens[i+1].Type != token.MappingValueType {
				continue
			}
			if t.Position.Column == 1 {
				return append(starts, i)
			}
			if t.Position.Column == column {
				starts = append(starts, i)
			}
		case token.DocumentHeaderType, token.DocumentEndType:
			return nil
		}
	}
	return append(starts, len(tokens))
}

// hostsOf is the mapping "hosts" of a document.
func hostsOf(body ast.Node) *ast.MappingNode {
	root, ok := body.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for _, pair := range root.Values {
		if keyText(pair.Key) == "hosts" {
			hosts, _ := pair.Value.(*ast.MappingNode)
			return hosts
		}
	}
	return nil
}
