package wire_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

// progressOf makes a Reply whose line is size bytes long, the newline not
// counted.
func progressOf(size int) wire.Reply {
	return wire.Reply{Progress: strings.Repeat("a", size-len(`{"progress":""}`))}
}

func encode(t *testing.T, messages ...wire.Reply) []byte {
	t.Helper()
	var b bytes.Buffer
	c := wire.NewConn(nil, &b)
	for _, m := range messages {
		if err := c.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestMessagesArriveAsSent(t *testing.T) {
	sent := []wire.Reply{{Progress: "one"}, {Error: &wire.Error{Message: "two", RolledBack: true}}, {}}
	c := wire.NewConn(iotest.OneByteReader(bytes.NewReader(encode(t, sent...))), nil)
	for _, want := range sent {
		var got wire.Reply
		if err := c.Receive(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	var got wire.Reply
	if err := c.Receive(&got); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %v, want io.EOF", err)
	}
}

func TestHalfAMessageIsAnError(t *testing.T) {
	data := encode(t, wire.Reply{Progress: "one"})
	for cut := 1; cut < len(data)-1; cut++ {
		var got wire.Reply
		err := wire.NewConn(bytes.NewReader(data[:cut]), nil).Receive(&got)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %q: %v, want io.ErrUnexpectedEOF", data[:cut], err)
		}
	}
}

func TestUnknownMembersAreRefused(t *testing.T) {
	var got wire.Request
	err := wire.NewConn(strings.NewReader(`{"confirm":{},"reboot":{}}`), nil).Receive(&got)
	if err == nil || !strings.Contains(err.Error(), "reboot") {
		t.Errorf("%v, want an error that names the member", err)
	}
}

func TestWhatIsNotJSONIsAnError(t *testing.T) {
	for _, said := range []string{"hello\n", "]", "{\"progress\":1}\n", "\x00"} {
		var got wire.Reply
		if err := wire.NewConn(strings.NewReader(said), nil).Receive(&got); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: %v, want an error", said, err)
		}
	}
}

func TestTheLongestMessageArrives(t *testing.T) {
	// The newline of the one before counts too.
	data := encode(t, wire.Reply{Progress: "one"}, progressOf(wire.MaxMessage-1), wire.Reply{Progress: "three"})
	c := wire.NewConn(bytes.NewReader(data), nil)
	for i := range 3 {
		var got wire.Reply
		if err := c.Receive(&got); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

func TestATooLongMessageIsRefusedWhateverWasReadAheadOfIt(t *testing.T) {
	for _, before := range []int{0, 1, 1000} {
		messages := make([]wire.Reply, before, before+1)
		data := encode(t, append(messages, progressOf(wire.MaxMessage+1))...)
		c := wire.NewConn(bytes.NewReader(data), nil)
		for range before {
			var got wire.Reply
			if err := c.Receive(&got); err != nil {
				t.Fatal(err)
			}
		}
		var got wire.Reply
		if err := c.Receive(&got); !errors.Is(err, wire.ErrTooLong) {
			t.Errorf("after %d messages: %v, want ErrTooLong", before, err)
		}
	}
}

func TestAnEndlessMessageIsRefused(t *testing.T) {
	var got wire.Reply
	endless := io.MultiReader(strings.NewReader(`{"progress":"`), spaces{})
	if err := wire.NewConn(endless, nil).Receive(&got); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("%v, want ErrTooLong", err)
	}
}

func TestManyMessagesMayExceedTheBoundTogether(t *testing.T) {
	const size = wire.MaxMessage / 8
	data := encode(t, progressOf(size))
	c := wire.NewConn(io.MultiReader(
		bytes.NewReader(data), bytes.NewReader(data), bytes.NewReader(data), bytes.NewReader(data), bytes.NewReader(data),
		bytes.NewReader(data), bytes.NewReader(data), bytes.NewReader(data), bytes.NewReader(data), bytes.NewReader(data),
	), nil)
	for i := range 10 {
		var got wire.Reply
		if err := c.Receive(&got); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// spaces never ends.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestAProbeRequestHasExactlyOneMember(t *testing.T) {
	tree, arp := &wire.TreeRequest{}, &wire.ARPRequest{}
	for name, tc := range map[string]struct {
		req wire.ProbeRequest
		ok  bool
	}{
		"none": {wire.ProbeRequest{}, false},
		"one":  {wire.ProbeRequest{Tree: tree}, true},
		"two":  {wire.ProbeRequest{Tree: tree, ARP: arp}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.req.Validate(); (err == nil) != tc.ok || err != nil && !errors.Is(err, wire.ErrNotOne) {
				t.Errorf("Validate() = %v", err)
			}
		})
	}
}

func TestARequestHasExactlyOneMember(t *testing.T) {
	empty := &wire.Empty{}
	for name, tc := range map[string]struct {
		req wire.Request
		ok  bool
	}{
		"none": {wire.Request{}, false},
		"one":  {wire.Request{Abort: empty}, true},
		"two":  {wire.Request{Abort: empty, Confirm: empty}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.req.Validate(); (err == nil) != tc.ok || err != nil && !errors.Is(err, wire.ErrNotOne) {
				t.Errorf("Validate() = %v", err)
			}
		})
	}
}

func TestAMessageOfVeryManyValuesIsRefusedBeforeItTakesUpMemory(t *testing.T) {
	message := `{"probe":{"ping":[` + strings.Repeat("{},", wire.MaxMessage/3-100) + `{}]}}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var got wire.Reply
	err := wire.NewConn(strings.NewReader(message), nil).Receive(&got)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("%v, want ErrTooLong", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 6*wire.MaxMessage {
		t.Errorf("%d bytes were allocated for a message of %d", took, len(message))
	}
}

func TestAnApplyToTheHostWithTheMostPortsFits(t *testing.T) {
	longest := strings.Repeat("h", 63)
	state := plan.HostState{OVS: &plan.OVS{}}
	for range topology.RSTP.MaxPorts() {
		state.OVS.Ports = append(state.OVS.Ports, plan.Port{
			Name: longest[:15], Type: "geneve",
			OtherConfig: map[string]string{"rstp-port-num": "4095", "rstp-path-cost": "65535"},
			ExternalIDs: map[string]string{plan.OwnerKey: longest[:32], plan.PeerKey: longest},
			Options:     map[string]string{"remote_ip": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "key": "16777215", "dst_port": "65535", "csum": "true"},
			BFD:         map[string]string{"enable": "true", "min_rx": "100", "min_tx": "100"},
		})
	}
	var sent bytes.Buffer
	if err := wire.NewConn(nil, &sent).Send(wire.Request{Apply: &wire.ApplyRequest{From: state, Want: state}}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", sent.Len())
	var got wire.Request
	if err := wire.NewConn(&sent, nil).Receive(&got); err != nil {
		t.Fatal(err)
	}
}
