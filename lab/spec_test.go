package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestLoadNamesTheLabAfterItsFolderAndSortsHosts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "two-hosts")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	content := "underlay: 192.0.2.0/24\nhosts:\n  h2: {address: 192.0.2.12, release: bookworm, driver: qemu}\n  h1: {address: 192.0.2.11}\n"
	if err := os.WriteFile(filepath.Join(dir, "lab.yaml"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}

	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{
		Name:     "two-hosts",
		Underlay: netip.MustParsePrefix("192.0.2.0/24"),
		MTU:      1500,
		Hosts: []Host{
			{Name: "h1", Address: netip.MustParseAddr("192.0.2.11"), Release: "trixie", Driver: Nspawn},
			{Name: "h2", Address: netip.MustParseAddr("192.0.2.12"), Release: "bookworm", Driver: QEMU},
		},
	}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestLoadOfAnotherFolderSaysWhatIsMissing(t *testing.T) {
	_, err := Load(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "holds no lab.yaml") {
		t.Errorf("error = %v, want one about lab.yaml", err)
	}
}

func TestParseReportsEveryProblemWithItsPlace(t *testing.T) {
	tests := []struct {
		name, content string
		want          []string
	}{
		{
			name:    "several at once",
			content: "underlay: 192.0.2.0/24\nmtu: 100\nhosts:\n  h1: {address: 192.0.2.254}\n  h2: {address: 198.51.100.1, release: sid}\n",
			want: []string{
				"lab.yaml:2:6: mtu: 100 is outside 576 to 65535",
				"lab.yaml:4:17: hosts.h1.address: 192.0.2.254 is taken: the controller",
				`lab.yaml:5:40: hosts.h2.release: no image for release "sid": choose one of bookworm, trixie, forky`,
				"lab.yaml:5:17: hosts.h2.address: 198.51.100.1 is outside the underlay 192.0.2.0/24",
			},
		},
		{
			name:    "a driver that is none",
			content: "underlay: 192.0.2.0/24\nhosts:\n  h1: {address: 192.0.2.1, driver: xen}\n  h2: {address: 192.0.2.2, driver: qemu, release: sid}\n",
			want: []string{
				`lab.yaml:3:36: hosts.h1.driver: no driver "xen": choose one of nspawn, qemu`,
				`lab.yaml:4:51: hosts.h2.release: no image for release "sid": choose one of bookworm, trixie, forky`,
			},
		},
		{
			name:    "two hosts with one address",
			content: "underlay: 192.0.2.0/24\nhosts:\n  h1: {address: 192.0.2.1}\n  h2: {address: 192.0.2.1}\n",
			want:    []string{"lab.yaml:4:17: hosts.h2.address: 192.0.2.1 is taken: h1"},
		},
		{
			name:    "network and broadcast address",
			content: "underlay: 192.0.2.0/24\nhosts:\n  h1: {address: 192.0.2.0}\n  h2: {address: 192.0.2.255}\n",
			want: []string{
				"lab.yaml:3:17: hosts.h1.address: 192.0.2.0 is taken: the subnet itself",
				"lab.yaml:4:17: hosts.h2.address: 192.0.2.255 is taken: broadcast",
			},
		},
		{
			name:    "names",
			content: "underlay: 192.0.2.0/24\nhosts:\n  ctl: {address: 192.0.2.1}\n  h-1: {address: 192.0.2.2}\n",
			want: []string{
				"lab.yaml:3:8: hosts.ctl: the name is the lab's own: take another",
				"lab.yaml:4:8: hosts.h-1: cannot name a host: take up to 13 lower-case letters and digits, a letter first",
			},
		},
		{
			name:    "underlay with host bits",
			content: "underlay: 192.0.2.1/24\nhosts:\n  h1: {address: 192.0.2.1}\n",
			want:    []string{"lab.yaml:1:11: underlay: 192.0.2.1/24 has host bits set: did you mean 192.0.2.0/24?"},
		},
		{
			name:    "underlay without room",
			content: "underlay: 192.0.2.0/30\nhosts:\n  h1: {address: 192.0.2.1}\n",
			want:    []string{"lab.yaml:1:11: underlay: 192.0.2.0/30 is no fit size: take /8 to /29"},
		},
		{
			name:    "empty",
			content: "",
			want: []string{
				`lab.yaml:underlay: "" is not an IPv4 subnet such as 192.0.2.0/24`,
				"lab.yaml:hosts: a lab needs at least one host",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse("lab.yaml", "demo", []byte(test.content))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefusesUnknownKeys(t *testing.T) {
	_, err := parse("lab.yaml", "demo", []byte("underlay: 192.0.2.0/24\nmut: 1400\n"))
	if err == nil || !strings.Contains(err.Error(), `lab.yaml:[2:1] unknown field "mut"`) {
		t.Errorf("error = %v, want one that names mut and its place", err)
	}
}

func TestControllerIsTheLastUsableAddress(t *testing.T) {
	for underlay, want := range map[string]string{
		"192.0.2.0/24":  "192.0.2.254",
		"10.0.0.0/8":    "10.255.255.254",
		"192.0.2.8/29":  "192.0.2.14",
		"172.16.0.0/20": "172.16.15.254",
	} {
		spec := Spec{Underlay: netip.MustParsePrefix(underlay)}
		if got := spec.Controller().String(); got != want {
			t.Errorf("controller in %s = %s, want %s", underlay, got, want)
		}
	}
}

func TestScenariosLoad(t *testing.T) {
	files, err := filepath.Glob("../scenarios/*/lab.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios found: %v", err)
	}
	for _, file := range files {
		if _, err := Load(filepath.Dir(file)); err != nil {
			t.Error(err)
		}
	}
}
