package host

import (
	"context"
	"testing"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// A hurry is a resource that notes how long each Apply may take.
type hurry struct {
	switchPart
	given *[]time.Duration
}

func (r hurry) Apply(ctx context.Context, want plan.HostState) error {
	deadline, _ := ctx.Deadline()
	*r.given = append(*r.given, time.Until(deadline))
	return r.switchPart.Apply(ctx, want)
}

func hurried(h *Host, m *machine) *[]time.Duration {
	given := &[]time.Duration{}
	h.Resources[0] = hurry{switchPart{m}, given}
	return given
}

func TestAPatientOperatorStretchesTheDeadlinesOfTheHost(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	given := hurried(h, m)
	o := serveFor(t, h, wire.Start{Fabric: "demo", Patience: 20})
	o.apply(time.Hour)
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
	for i, least := range []time.Duration{19 * applyTimeout, 19 * partTimeout} {
		if len(*given) != 2 || (*given)[i] < least {
			t.Errorf("applying and going back were given %s; number %d needs at least %s", *given, i, least)
		}
	}
}

func TestGoingBackFromAJournalIsAsPatientAsItsApplyWas(t *testing.T) {
	for name, goBack := range map[string]func(context.Context, func(string) *Host) error{"watch": Watch, "at boot": BeforeDocker} {
		t.Run(name, func(t *testing.T) {
			m := &machine{}
			h, _ := cutOffUnder(patience.With(t.Context(), 20), t, m)
			given := hurried(h, m)
			if err := goBack(t.Context(), always(h)); err != nil {
				t.Fatal(err)
			}
			if len(*given) != 1 || (*given)[0] < 19*partTimeout {
				t.Errorf("going back was given %s, want one Apply of at least %s", *given, 19*partTimeout)
			}
		})
	}
}
