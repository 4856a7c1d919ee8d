package probe

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func newProber(t *testing.T, iperf string) *Prober {
	t.Helper()
	p := &Prober{Iperf: iperf}
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestIperfMeasuresOnceThroughAServer(t *testing.T) {
	p := newProber(t, "iperf3")
	started, err := p.Do(t.Context(), wire.ProbeRequest{IperfServer: &wire.IperfServerRequest{Address: loopback}})
	if err != nil {
		t.Fatal(err)
	}
	client := wire.ProbeRequest{IperfClient: &wire.IperfClientRequest{
		Server: netip.AddrPortFrom(loopback, started.IperfServer.Port), Source: loopback, Duration: time.Second,
	}}
	server := p.server
	measured, err := p.Do(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if r := measured.IperfClient; r.Error != "" || r.BitsPerSecond < 1e6 {
		t.Errorf("result %+v", r)
	}
	<-server.exited

	refused, err := p.Do(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(refused.IperfClient.Error, "refused") {
		t.Errorf("second test: error %q, want a refused connection", refused.IperfClient.Error)
	}
}

func TestCloseEndsAnIperfServerThatNobodyUsed(t *testing.T) {
	p := newProber(t, "iperf3")
	if _, err := p.Do(t.Context(), wire.ProbeRequest{IperfServer: &wire.IperfServerRequest{Address: loopback}}); err != nil {
		t.Fatal(err)
	}
	server := p.server
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-server.exited
}

func TestIperfOnAnAddressOfAnotherHostIsAnError(t *testing.T) {
	p := newProber(t, "iperf3")
	_, err := p.Do(t.Context(), wire.ProbeRequest{IperfServer: &wire.IperfServerRequest{Address: netip.MustParseAddr("192.0.2.1")}})
	if err == nil || !strings.Contains(err.Error(), "cannot assign requested address") {
		t.Errorf("error %v", err)
	}
}

func TestIperfThatIsNotInstalledIsNamedInTheError(t *testing.T) {
	p := newProber(t, "iperf3-is-not-here")
	for _, req := range []wire.ProbeRequest{
		{IperfServer: &wire.IperfServerRequest{Address: loopback}},
		{IperfClient: &wire.IperfClientRequest{Server: netip.AddrPortFrom(loopback, 9), Duration: time.Second}},
	} {
		_, err := p.Do(t.Context(), req)
		if err == nil || !strings.Contains(err.Error(), "install iperf3 on this host") {
			t.Errorf("error %v", err)
		}
	}
}

func TestIperfReportsAreRead(t *testing.T) {
	tests := []struct {
		name, out string
		want      wire.IperfClientResult
	}{
		{
			"success",
			`{"end":{"sum_sent":{"bits_per_second":2e9,"retransmits":7},"sum_received":{"bits_per_second":1.9e9}}}`,
			wire.IperfClientResult{BitsPerSecond: 1.9e9, Retransmits: 7},
		},
		{
			"failure",
			`{"start":{"connected":[]},"end":{},"error":"error - unable to connect to server: Connection refused"}`,
			wire.IperfClientResult{Error: "error - unable to connect to server: Connection refused"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseIperf([]byte(test.out))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := parseIperf([]byte("iperf3: not JSON")); err == nil {
		t.Error("no error for what is not JSON")
	}
}
