package picture_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ipam"
	"github.com/ovsfabric/fabric/picture"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

var update = flag.Bool("update", false, "write what is drawn into testdata")

var formats = map[string]func(*picture.Picture, io.Writer) error{
	"txt": (*picture.Picture).Text, "dot": (*picture.Picture).DOT, "mmd": (*picture.Picture).Mermaid,
	"json": (*picture.Picture).JSON, "svg": (*picture.Picture).SVG,
}

// planned is the picture of a fabric whose hosts are spread over so many
// sites.
func planned(t *testing.T, strategy topology.Strategy, hosts, sites int) *picture.Picture {
	t.Helper()
	var file strings.Builder
	fmt.Fprintf(&file, "version: 1\nname: demo\nnetwork: 10.0.0.0/8\ngraph: {strategy: %s}\nhosts:\n", strategy)
	for i := range hosts {
		fmt.Fprintf(&file, "  h%d: {address: 192.0.%d.%d", i+1, 2+i/200, 1+i%200)
		if sites > 0 {
			fmt.Fprintf(&file, ", site: site%d", i*sites/hosts)
		}
		file.WriteString("}\n")
	}
	topo, _, err := topology.Parse("fabric.yaml", []byte(file.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var wants []ipam.Want
	for _, h := range topo.Hosts {
		wants = append(wants, ipam.Want{Name: h.Name, Weight: h.Weight, SSH: h.Address.String()})
	}
	lock, err := ipam.Assign(topo.Network, ipam.Lock{}, wants)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.New(plan.Input{Topology: topo, Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	return picture.New(p)
}

func drawn(t *testing.T, p *picture.Picture, format string) string {
	t.Helper()
	var b bytes.Buffer
	if err := formats[format](p, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormatsAreAsKept(t *testing.T) {
	for name, p := range map[string]*picture.Picture{
		"one":   planned(t, topology.Auto, 1, 0),
		"mesh":  planned(t, topology.Mesh, 3, 0),
		"ring":  planned(t, topology.Ring, 6, 0),
		"hub":   planned(t, topology.Hub, 30, 0),
		"sites": planned(t, topology.Sites, 9, 3),
	} {
		for _, format := range []string{"txt", "dot", "mmd", "json"} {
			path := filepath.Join("testdata", name+"."+format)
			got := drawn(t, p, format)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		}
	}
}

func TestTheSameFabricIsTheSameBytes(t *testing.T) {
	for format := range formats {
		first, second := drawn(t, planned(t, topology.Sites, 40, 3), format), drawn(t, planned(t, topology.Sites, 40, 3), format)
		if first != second {
			t.Errorf("%s differs the second time", format)
		}
	}
}

func TestTextFitsATerminal(t *testing.T) {
	for _, p := range []*picture.Picture{
		planned(t, topology.Hub, 300, 0), planned(t, topology.Ring, 18, 0), planned(t, topology.Mesh, 50, 0),
		planned(t, topology.Sparse, 300, 0), planned(t, topology.Sites, 300, 10),
	} {
		for line := range strings.Lines(drawn(t, p, "txt")) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s of %d hosts: %d columns: %s", p.Strategy, len(p.Hosts), n, line)
			}
		}
	}
}

func TestTextNamesEveryHostOnceInTheTree(t *testing.T) {
	p := planned(t, topology.Sparse, 300, 0)
	tree, _, _ := strings.Cut(drawn(t, p, "txt"), "blocked:")
	seen := make(map[string]int)
	for _, word := range strings.Fields(tree) {
		seen[strings.TrimSuffix(word, ",")]++
	}
	for _, h := range p.Hosts {
		if seen[h.Name] != 1 {
			t.Errorf("%s is there %d times", h.Name, seen[h.Name])
		}
	}
}

// svg is what a test looks for in a drawing.
type svg struct {
	Groups []struct {
		Class string `xml:"class,attr"`
		Title string `xml:"title"`
		Paths []struct {
			Title string `xml:"title"`
		} `xml:"path"`
	} `xml:"g"`
	Text []string `xml:"text"`
}

func TestSVGHasEveryHostAndLink(t *testing.T) {
	for _, p := range []*picture.Picture{
		planned(t, topology.Auto, 1, 0), planned(t, topology.Mesh, 3, 0), planned(t, topology.Sites, 30, 3),
		planned(t, topology.Hub, 300, 0), planned(t, topology.Mesh, 100, 0),
	} {
		var doc svg
		if err := xml.Unmarshal([]byte(drawn(t, p, "svg")), &doc); err != nil {
			t.Fatal(err)
		}
		hosts := make(map[string]bool)
		paths := make(map[string]int)
		for _, g := range doc.Groups {
			kind, _, _ := strings.Cut(g.Class, " ")
			paths[kind] += len(g.Paths)
			name, _, _ := strings.Cut(g.Title, " ")
			hosts[strings.TrimSuffix(name, ",")] = true
		}
		want := make(map[string]int)
		for _, l := range p.Links {
			if l.Tree {
				want["tree"]++
			} else {
				want["blocked"]++
			}
		}
		if paths["tree"] != want["tree"] || paths["blocked"] != want["blocked"] {
			t.Errorf("%s of %d hosts has %v, want %v", p.Strategy, len(p.Hosts), paths, want)
		}
		for _, h := range p.Hosts {
			if !hosts[h.Name] {
				t.Errorf("%s of %d hosts lacks %s", p.Strategy, len(p.Hosts), h.Name)
			}
		}
	}
}

// odd is a picture with names that mean something to each format.
func odd() *picture.Picture {
	const a, b = `<a & "b">`, `c\d#e;]`
	return &picture.Picture{
		Fabric: `"f" & <g>`, Root: a, Backup: b,
		Hosts: []picture.Host{{Name: a, Site: `<s>&"`}, {Name: b, Parent: a, Depth: 1}},
		Links: []picture.Link{{A: a, B: b, Cost: 1, Tree: true}},
	}
}

func TestSVGEscapesNames(t *testing.T) {
	text := drawn(t, odd(), "svg")
	dec := xml.NewDecoder(strings.NewReader(text))
	var content strings.Builder
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			content.Write(data)
			content.WriteByte('\n')
		}
	}
	for _, want := range []string{`<a & "b"> (root)`, `c\d#e;] (backup)`, `<s>&"`, `"f" & <g>: 2 hosts`} {
		if !strings.Contains(content.String(), want) {
			t.Errorf("%q is not among the texts of\n%s", want, text)
		}
	}
}

func TestOtherLanguagesQuoteNames(t *testing.T) {
	for format, wants := range map[string][]string{
		"dot": {`graph "\"f\" & <g>" {`, `label="<s>&\""`, `"<a & \"b\">" -- "c\\d#e;]" [`},
		"mmd": {`["#lt;a #amp; #quot;b#quot;#gt; (root)<br/>`, `subgraph s1["#lt;s#gt;#amp;#quot;"]`, `["c\d#35;e;] (backup)`},
	} {
		text := drawn(t, odd(), format)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s:\n%s", format, want, text)
			}
		}
	}
}

func TestAFailedWriteIsReported(t *testing.T) {
	broken := errors.New("broken")
	for format, draw := range formats {
		if err := draw(planned(t, topology.Mesh, 3, 0), failing{broken}); !errors.Is(err, broken) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }
