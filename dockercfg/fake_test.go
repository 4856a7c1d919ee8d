package dockercfg

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ovsfabric/fabric/host/command"
)

// A fakeHost is systemd and a dockerd that remembers docker0's address as
// the real one does. It fails the test on what it does not expect.
type fakeHost struct {
	t     *testing.T
	r     *Resource
	paths Paths

	loaded      bool
	masked      bool
	ending      bool // dockerd counts as active once more, and then no longer runs
	pid         int  // 0: stopped
	broken      bool // dockerd does not start
	kept        bool // docker0 stands while dockerd does not run
	stubborn    bool // dockerd keeps its address whatever the file says
	liveRestore bool
	swarm       string // Swarm of GET /info
	api         string // version of its API, 1.41 by default
	address     string // what dockerd remembers for docker0
	pool        string
	mtu         int
	containers  []*fakeContainer
	networks    []string // JSON
	starts      string   // what docker.service starts
	options     string   // the file of variables that docker.service reads
	log         []string // commands that change something
}

type fakeContainer struct {
	name, policy string
	running      bool
}

func newFakeHost(t *testing.T, daemonJSON string) *fakeHost {
	t.Helper()
	// t.TempDir can be longer than a socket's name may be (unix(7)).
	dir, err := os.MkdirTemp("", "dockercfg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &fakeHost{
		t: t, loaded: true, pid: 4711, address: "172.17.0.1/16", mtu: 1500,
		paths: Paths{
			DaemonJSON: filepath.Join(dir, "daemon.json"),
			Record:     filepath.Join(dir, "fabric", "daemon.json.orig"),
			Socket:     filepath.Join(dir, "docker.sock"),
		},
	}
	if daemonJSON != "" {
		h.write(daemonJSON)
	}
	h.r = New(h.paths)
	h.r.unit, h.r.run, h.r.proc = h.unit, h.run, filepath.Join(dir, "proc")
	h.r.exists = func(string) bool { return h.kept }
	h.cmdline("/usr/sbin/dockerd", "-H", "fd://")

	listener, err := net.Listen("unix", h.paths.Socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return h
}

func (h *fakeHost) write(daemonJSON string) {
	h.t.Helper()
	if err := os.WriteFile(h.paths.DaemonJSON, []byte(daemonJSON), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) cmdline(args ...string) {
	h.t.Helper()
	dir := filepath.Join(h.r.proc, "4711")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.Join(args, "\x00")+"\x00"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// file returns a file's content, or "none".
func (h *fakeHost) file(path string) string {
	h.t.Helper()
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "none"
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

func (h *fakeHost) unit(_ context.Context, name string) (unit, error) {
	u := unit{state: "inactive", loaded: h.loaded && !h.masked, masked: h.masked, pid: h.pid}
	if h.pid != 0 {
		u.state = "active"
	}
	if h.ending && name == serviceUnit {
		h.pid = 0
	}
	return u, nil
}

func (h *fakeHost) run(_ context.Context, name string, args ...string) ([]byte, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	switch {
	case line == "systemctl reset-failed docker.service docker.socket":
		return nil, nil
	case line == "systemctl stop docker.socket docker.service":
		h.log = append(h.log, line)
		h.pid = 0
		for _, c := range h.containers {
			c.running = false
		}
		return nil, nil
	case line == "systemctl restart docker.service":
		h.log = append(h.log, line)
		return nil, h.start(args)
	case line == "systemctl show --property=ExecStart,Environment,EnvironmentFiles docker.service":
		return fmt.Appendf(nil, "EnvironmentFiles=%s (ignore_errors=yes)\nExecStart={ path=/usr/sbin/dockerd ; argv[]=%s ; ignore_errors=no }\n", h.options, h.starts), nil
	case h.kept && line == "ip address replace 172.17.0.1/16 dev docker0":
		h.log = append(h.log, line)
		return nil, nil
	case strings.HasPrefix(line, "journalctl -u docker.service "):
		return []byte("failed to start daemon: for a test\n"), nil
	}
	h.t.Errorf("unexpected command: %s", line)
	return nil, errors.New("unexpected command")
}

func (h *fakeHost) start(args []string) error {
	if h.broken {
		return &command.Error{Argv: append([]string{"systemctl"}, args...), Exit: 1, Stderr: "Job for docker.service failed"}
	}
	var data []byte
	if s := h.file(h.paths.DaemonJSON); s != "none" {
		data = []byte(s)
	}
	config, err := Read(data)
	if err != nil {
		h.t.Errorf("dockerd was started with a daemon.json that it refuses: %v", err)
	}
	if config.BIP != "" && !h.stubborn {
		h.address = config.BIP
	}
	h.pool, h.mtu = config.FixedCIDR, config.MTU
	if h.mtu == 0 {
		h.mtu = 1500
	}
	h.pid = 4711
	for _, c := range h.containers {
		c.running = c.running || c.policy == "always"
	}
	return nil
}

func (h *fakeHost) serve(w http.ResponseWriter, req *http.Request) {
	if h.pid == 0 && h.ending {
		panic(http.ErrAbortHandler) // the connection ends
	}
	if h.pid == 0 {
		h.t.Errorf("%s %s would wake dockerd", req.Method, req.URL)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v"), "/")
	if req.URL.Path == "/_ping" {
		path = "_ping"
	}
	address := netip.MustParsePrefix(h.address)
	switch {
	case path == "_ping":
		w.Header().Set("Api-Version", cmp.Or(h.api, "1.41"))
	case path == "info":
		fmt.Fprintf(w, `{"ServerVersion": "20.10.24", "LiveRestoreEnabled": %v, "Swarm": {%s}}`, h.liveRestore, h.swarm)
	case path == "networks/bridge":
		fmt.Fprint(w, h.bridge(address))
	case path == "networks":
		fmt.Fprintf(w, "[%s]", strings.Join(append([]string{h.bridge(address)}, h.networks...), ","))
	case path == "containers/json":
		var list []map[string]any
		for _, c := range h.containers {
			if c.running {
				list = append(list, map[string]any{"Id": "id-" + c.name, "Names": []string{"/x/alias", "/" + c.name},
					"NetworkSettings": map[string]any{"Networks": map[string]any{"bridge": map[string]any{}}}})
			}
		}
		slices.Reverse(list) // dockerd's order is the newest first
		if err := json.NewEncoder(w).Encode(list); err != nil {
			h.t.Error(err)
		}
	case strings.HasSuffix(path, "/json"):
		c := h.container(strings.TrimSuffix(path, "/json"))
		fmt.Fprintf(w, `{"HostConfig": {"AutoRemove": %v, "RestartPolicy": {"Name": %q}}}`, c.policy == "rm", strings.TrimPrefix(c.policy, "rm"))
	case strings.HasSuffix(path, "/start") && req.Method == http.MethodPost:
		c := h.container(strings.TrimSuffix(path, "/start"))
		h.log = append(h.log, "docker start "+c.name)
		if c.policy == "rm" {
			http.Error(w, `{"message": "No such container"}`, http.StatusNotFound)
			return
		}
		c.running = true
		w.WriteHeader(http.StatusNoContent)
	default:
		h.t.Errorf("unexpected request: %s %s", req.Method, req.URL)
		http.Error(w, "{}", http.StatusNotImplemented)
	}
}

func (h *fakeHost) container(path string) *fakeContainer {
	for _, c := range h.containers {
		if path == "containers/id-"+c.name {
			return c
		}
	}
	h.t.Errorf("unexpected container: %s", path)
	return &fakeContainer{}
}

func (h *fakeHost) bridge(address netip.Prefix) string {
	pool := ""
	if h.pool != "" {
		pool = fmt.Sprintf(`, "IPRange": %q`, h.pool)
	}
	return fmt.Sprintf(`{"Name": "bridge", "IPAM": {"Config": [{"Subnet": %q, "Gateway": %q%s}]},
		"Options": {"com.docker.network.bridge.name": "docker0", "com.docker.network.driver.mtu": "%d"}}`,
		address.Masked(), address.Addr(), pool, h.mtu)
}
