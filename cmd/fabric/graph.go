package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/picture"
)

// graphFormat is a way to draw the graph.
type graphFormat struct {
	name, meaning string
	extensions    []string // of the files that it is for
	draw          func(*picture.Picture, io.Writer) error
}

func graphFormats() []graphFormat {
	return []graphFormat{
		{"text", "the tree, for a terminal", []string{".txt"}, (*picture.Picture).Text},
		{"svg", "a picture for browsers and documents", []string{".svg"}, (*picture.Picture).SVG},
		{"dot", "for Graphviz", []string{".dot", ".gv"}, (*picture.Picture).DOT},
		{"mermaid", "a flowchart for Markdown", []string{".mmd"}, (*picture.Picture).Mermaid},
		{"json", "for other programs", []string{".json"}, (*picture.Picture).JSON},
	}
}

func newGraphCommand(o *options) *cobra.Command {
	var format, out string
	formats := graphFormats()
	c := &cobra.Command{
		Use:   "graph",
		Short: "Draw the tunnels and the tree over them",
		Long: `Draws the tunnels between the hosts and the spanning tree predicted for
them, from the file and the lock alone. Links of the tree are solid, blocked
ones are dashed, the root and its backup are marked, and hosts of a site are
drawn together.

Without --format the extension of --out chooses: .svg, .dot or .gv, .mmd for
Mermaid, .json. Any other is text.`,
		Example: `  fabric graph
  fabric graph --out fabric.svg
  fabric graph --format dot | dot -Tpdf > fabric.pdf
  fabric graph --format json | jq '.links[] | select(.tree | not)'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := chooseFormat(formats, format, out)
			if err != nil {
				return err
			}
			l, err := load(o.file)
			if err != nil {
				return err
			}
			p, err := planOffline(l)
			if err != nil {
				return err
			}
			pic := picture.New(p)
			if out == "" {
				return chosen.draw(pic, cmd.OutOrStdout())
			}
			var drawn bytes.Buffer
			if err := chosen.draw(pic, &drawn); err != nil {
				return err
			}
			return os.WriteFile(out, drawn.Bytes(), 0o666) // less the umask, as a shell would
		},
	}
	c.Flags().StringVar(&format, "format", "", "draw as `FORMAT`: "+strings.Join(formatNames(formats), ", "))
	c.Flags().StringVar(&out, "out", "", "write to `FILE` instead of stdout")
	var completions []cobra.Completion
	for _, f := range formats {
		completions = append(completions, cobra.CompletionWithDesc(f.name, f.meaning))
	}
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(completions, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	_ = c.MarkFlagFilename("out")
	return c
}

// chooseFormat finds the format of a name or, where that is empty, the one
// for the file that is written. The first is for everything else.
func chooseFormat(formats []graphFormat, name, file string) (graphFormat, error) {
	if name == "" {
		extension := strings.ToLower(filepath.Ext(file))
		i := slices.IndexFunc(formats, func(f graphFormat) bool { return slices.Contains(f.extensions, extension) })
		return formats[max(i, 0)], nil
	}
	i := slices.IndexFunc(formats, func(f graphFormat) bool { return f.name == name })
	if i < 0 {
		return graphFormat{}, fmt.Errorf("--format %s: there are %s", name, strings.Join(formatNames(formats), ", "))
	}
	return formats[i], nil
}

func formatNames(formats []graphFormat) []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}
