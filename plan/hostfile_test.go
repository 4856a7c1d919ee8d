package plan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func hostFile() HostFile {
	return HostFile{
		Version: HostFileVersion,
		Fabric:  "demo",
		Links: Links{
			Name: "docker0", Owner: "demo", MAC: "02:42:ac:11:40:01", MTU: 1450,
			Address: netip.MustParsePrefix("172.17.64.1/16"), Member: BridgeName, Up: true,
		},
	}
}

func TestHostFileRoundTrip(t *testing.T) {
	data, err := hostFile().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHostFile(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hostFile(), got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeHostFileRefuses(t *testing.T) {
	for _, tt := range []struct{ name, former, now, want string }{
		{"unknown field", `"fabric"`, `"colour": 1, "fabric"`, "unknown field"},
		{"another version", `"version": 1`, `"version": 2`, "version 2"},
		{"trailing data", "\n}\n", "\n} {}", "more data"},
		{"cut short", "}\n}\n", "", "EOF"},
		{"nobody's file", `"fabric": "demo"`, `"fabric": ""`, "fabric: empty"},
		{"foreign links", `"owner": "demo"`, `"owner": "other"`, "links.owner"},
		{"bad name", `"docker0"`, `"../docker0"`, "links.name"},
		{"group MAC", `"02:42`, `"03:42`, "links.mac"},
		{"no MTU", `1450`, `0`, "links.mtu"},
		{"IPv6 address", `172.17.64.1/16`, `2001:db8::1/64`, "links.address"},
		{"no address", `172.17.64.1/16`, ``, "links.address"},
		{"no member", `"br0"`, `""`, "links.member"},
		{"down", `"up": true`, `"up": false`, "links.up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := hostFile().Encode()
			if err != nil {
				t.Fatal(err)
			}
			broken := strings.Replace(string(data), tt.former, tt.now, 1)
			if broken == string(data) {
				t.Fatalf("%q is not in the file:\n%s", tt.former, data)
			}
			_, err = DecodeHostFile([]byte(broken))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one about %q", err, tt.want)
			}
		})
	}
}
