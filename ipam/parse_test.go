package ipam_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ipam"
)

const file = `version 1
network 172.17.0.0/16
host h1 id=1 range=172.17.0.0/18 ssh=ops@192.0.2.11:22
host h10 id=4 range=172.17.64.0/18
removed h9 id=9 range=172.17.128.0/18 ssh=192.0.2.19 torn-down=yes
`

func TestParseLock(t *testing.T) {
	got, err := ipam.ParseLock("fabric.lock", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := ipam.Lock{
		Network: netip.MustParsePrefix("172.17.0.0/16"),
		Hosts: []ipam.Entry{
			{Name: "h1", ID: 1, Range: netip.MustParsePrefix("172.17.0.0/18"), SSH: "ops@192.0.2.11:22"},
			{Name: "h10", ID: 4, Range: netip.MustParsePrefix("172.17.64.0/18")},
		},
		Removed: []ipam.Entry{
			{Name: "h9", ID: 9, Range: netip.MustParsePrefix("172.17.128.0/18"), SSH: "192.0.2.19", TornDown: true},
		},
	}
	if diff := cmp.Diff(want, got, prefixes); diff != "" {
		t.Errorf("lock (-want +got):\n%s", diff)
	}
	if !bytes.HasSuffix(got.Bytes(), []byte(file)) {
		t.Errorf("written back:\n%s\nwant it to end with:\n%s", got.Bytes(), file)
	}
}

func TestParseLockEmptyIsNewFabric(t *testing.T) {
	for _, data := range []string{"", "\n", "# nothing\n", "version 1\n"} {
		got, err := ipam.ParseLock("fabric.lock", []byte(data))
		if err != nil {
			t.Errorf("%q: %v", data, err)
		}
		if diff := cmp.Diff(ipam.Lock{}, got, prefixes); diff != "" {
			t.Errorf("%q (-want +got):\n%s", data, diff)
		}
	}
}

func TestParseLockErrors(t *testing.T) {
	const head = "version 1\nnetwork 172.17.0.0/16\nhost h1 id=1 range=172.17.0.0/18\n"
	tests := []struct {
		name, data string
		want       []string // the start of each line of the error
	}{
		{"conflict", head + "<<<<<<< HEAD\nhost h2 id=2 range=172.17.64.0/18\n=======\nhost h3 id=2 range=172.17.64.0/18\n>>>>>>> b\n",
			[]string{`f:4: a merge conflict: keep one of the two sides`}},
		{"merged branches", head + "host h2 id=2 range=172.17.64.0/18\nhost h3 id=2 range=172.17.64.0/19\n",
			[]string{"f:5: h3 has the id of h2 on line 4; if two branches", "f:5: h3: range 172.17.64.0/19 overlaps 172.17.64.0/18 of h2 on line 4; if two branches"}},
		{"same host twice", head + "removed h1 id=1 range=172.17.0.0/18\n", []string{"f:4: h1 is on line 3 already", "f:4: h1 has the id of h1"}},
		{"everything at once", "version 1\nnetwork 172.17.0.1/16\nhost H1 id=1\nhost h2 id=0 range=172.17.0.0/18\nhost h3 id=3\nhost h4 colour=red\nbridge\n", []string{
			"f:2: network: 172.17.0.1/16 has bits set beyond its length; 172.17.0.0/16",
			"f:3: host wants the name of a host",
			`f:4: h2: id "0" is not a number from 1`,
			"f:5: h3: id= and range= are both needed",
			"f:6: h4: colour=red means nothing here",
			`f:7: unknown statement "bridge"`,
		}},
		{"later version", "version 2\n", []string{`f:1: this fabric reads "version 1"`}},
		{"no version", "network 172.17.0.0/16\n", []string{`f:1: "version 1" must come first`}},
		{"no network", "version 1\nhost h1 id=1 range=172.17.0.0/18\n", []string{"f:2: the network is missing"}},
		{"range outside", head + "host h2 id=2 range=10.0.0.0/18\n", []string{"f:4: h2: range 10.0.0.0/18 is not inside"}},
		{"range too small", head + "host h2 id=2 range=172.17.64.0/30\n", []string{"f:4: h2: 172.17.64.0/30 is not an IPv4 range of /29 or larger"}},
		{"torn down but present", "version 1\nnetwork 172.17.0.0/16\nhost h1 id=1 range=172.17.0.0/18 torn-down=yes\n", []string{"f:3: h1: torn-down=yes means nothing here"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ipam.ParseLock("f", []byte(tt.data))
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d lines, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, tt.want[i]) {
					t.Errorf("line %d: %s\nwant: %s", i, line, tt.want[i])
				}
			}
		})
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte("version 1\n<<<<<<< a\n"))
	f.Add([]byte("version 1\nnetwork ::/0\nhost h1 id=1 range=0.0.0.0/0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := ipam.ParseLock("f", data)
		if err != nil {
			return
		}
		again, err := ipam.ParseLock("f", lock.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, lock.Bytes())
		}
		if diff := cmp.Diff(lock, again, prefixes); diff != "" {
			t.Fatalf("changed on the way through the file (-want +got):\n%s", diff)
		}
	})
}
