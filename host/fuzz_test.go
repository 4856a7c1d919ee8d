package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// deafProber answers no probe.
type deafProber struct{}

func (deafProber) Do(context.Context, wire.ProbeRequest) (wire.ProbeResult, error) {
	return wire.ProbeResult{}, errors.New("not here")
}

// FuzzRequests has a session where the operator says anything. Unless it
// confirms an apply, the host ends as it began.
func FuzzRequests(f *testing.F) {
	start := `{"fabric":"demo"}` + "\n"
	apply, err := json.Marshal(wire.Request{Apply: &wire.ApplyRequest{Query: plan.Query{Fabric: "demo"}, Want: wanted(1450), ConfirmWithin: 1 << 40}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "null", "{}", start, start + "{}", start + `{"observe":{}}`, start + `{"abort":{},"recover":{}}`, start + `{"recover":{}}`,
		start + `{"hold":{}}`, start + string(apply) + `{"hold":{}}`,
		start + `{"probe":{"tree":{}}}`, start + string(apply), start + string(apply) + `{"confirm":{}}`, start + string(apply) + string(apply) + `{"abort":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		m := &machine{}
		h := newHost(t, m)
		h.Lock = filepath.Join(t.TempDir(), "lock")
		var answered bytes.Buffer
		_ = Serve(t.Context(), "sum", func(string) (*Host, Prober) { return h, deafProber{} }, bytes.NewReader(said), &answered)
		if confirms(said) {
			return
		}
		if diff := cmp.Diff(plan.HostState{}, m.state, equateNetip); diff != "" {
			t.Errorf("the host has changed: %s", diff)
		}
		if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", h.Dir, err)
		}
	})
}

// confirms says whether one of the messages is a confirm.
func confirms(said []byte) bool {
	conn := wire.NewConn(bytes.NewReader(said), io.Discard)
	var start wire.Start
	if conn.Receive(&start) != nil {
		return false
	}
	for {
		var req wire.Request
		if conn.Receive(&req) != nil {
			return false
		}
		if req.Confirm != nil {
			return true
		}
	}
}
