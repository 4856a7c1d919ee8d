package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/ovsfabric/fabric/internal/printable"
)

// savedFormat is the version of the format of a saved plan.
const savedFormat = 2

// Saved is a plan on its way from the command that showed it to the one that
// carries it out: all that it was made from, and the plan. The fabric file and
// the lock are in it as checksums only.
type Saved struct {
	Format   int                    `json:"format"`
	Version  string                 `json:"version"`            // of the fabric that made the plan, as it prints it
	Program  string                 `json:"program"`            // that fabric's build
	File     string                 `json:"file"`               // SHA-256 of the fabric file and what it refers to, hex
	Lock     string                 `json:"lock"`               // SHA-256 of the lock that the plan was made with, hex
	Adopt    bool                   `json:"adopt,omitempty"`    // what was made by hand is taken over
	Resolved map[string]netip.Addr  `json:"resolved,omitempty"` // hosts' addresses that the file gives as names
	Programs map[string]string      `json:"programs"`           // as in Input
	Observed map[string]Observation `json:"observed"`           // as in Input
	Missing  map[string]string      `json:"missing,omitempty"`  // as in Input
	Plan     json.RawMessage        `json:"plan"`
}

// Bytes is the saved plan as a file, with p for its plan.
func (s Saved) Bytes(p *Plan) ([]byte, error) {
	var err error
	if s.Plan, err = json.Marshal(p); err != nil {
		return nil, err
	}
	s.Format = savedFormat
	data, err := json.Marshal(s)
	return append(data, '\n'), err
}

// ParseSaved reads a saved plan.
func ParseSaved(filename string, data []byte) (*Saved, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%s is no saved plan, or is cut off: %w: make it with fabric plan --out %[1]s; the fabric's file is named with -f FILE", filename, err)
	}
	if head.Format != savedFormat {
		return nil, fmt.Errorf("%s has the format %d of saved plans, and this fabric reads %d: run fabric plan --out %[1]s again", filename, head.Format, savedFormat)
	}
	var s Saved
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, edited(filename, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, edited(filename, errors.New("something follows the plan"))
	}
	for host, why := range s.Missing { // it is shown
		s.Missing[host] = printable.Text(why)
	}
	return &s, nil
}

func edited(filename string, err error) error {
	return fmt.Errorf("%s is not as fabric plan --out wrote it (%s): run fabric plan --out %[1]s again", filename, printable.Text(err.Error()))
}

// Remake works the plan out again from what it was made from, and makes sure
// that it is the one in the file: whoever can write the file can have nothing
// done on a host that the fabric file does not say. The topology, the graph
// and the lock are to be those whose checksums are in the file.
func (s *Saved) Remake(filename string, in Input) (*Plan, error) {
	in.Observed, in.Missing, in.Programs = s.Observed, s.Missing, s.Programs
	p, err := New(in)
	if err != nil {
		return nil, edited(filename, err)
	}
	again, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var was bytes.Buffer
	if err := json.Compact(&was, s.Plan); err != nil {
		return nil, edited(filename, err)
	}
	if !bytes.Equal(again, was.Bytes()) {
		return nil, edited(filename, errors.New("its plan does not follow from the rest of it"))
	}
	return p, nil
}

// Difference is what keeps an earlier plan from being carried out on a host.
type Difference struct {
	Host    string
	Wanted  bool     // the host is what it was, but would have to become something else
	Changes []Change // from what it was, or was to become, to what is so now
}

// Since lists what differs, on the hosts of an earlier plan, between that and
// one made later from the same file and lock.
func (p *Plan) Since(earlier *Plan) []Difference {
	now := make(map[string]Host, len(p.Hosts))
	for _, h := range p.Hosts {
		now[h.Name] = h
	}
	var differ []Difference
	for _, was := range earlier.Hosts {
		d := Difference{Host: was.Name, Changes: Diff(was.From, now[was.Name].From)}
		if len(d.Changes) == 0 {
			d.Wanted, d.Changes = true, Diff(was.Desired, now[was.Name].Desired)
		}
		if len(d.Changes) > 0 {
			differ = append(differ, d)
		}
	}
	return differ
}
