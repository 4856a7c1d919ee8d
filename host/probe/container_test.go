package probe

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/pkg/stdcopy"

	"github.com/ovsfabric/fabric/host/wire"
)

const apiVersion = "1.41" // of Docker 20.10

// engine is a make-believe dockerd with one image and one container. It
// refuses what it does not know.
type engine struct {
	t       *testing.T
	refuse  string // a request, "POST /containers/NAME/start", that fails
	execOut string // what a command in the container prints
	execErr string // what it prints on standard error; it fails if there is any

	dies string // what the container prints before it ends by itself, with exit status 255

	mu        sync.Mutex
	ended     chan struct{} // closed when the container ends
	image     string
	container string
	running   bool
	packed    string   // the content of /fabric in the image
	stdin     net.Conn // of the container
	execIn    string
}

// serveEngine runs an engine and gives its URL.
func serveEngine(t *testing.T, e *engine) string {
	t.Helper()
	e.t = t
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e}
	done := make(chan struct{})
	go func() { _ = server.Serve(listener); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	return "unix://" + socket
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/wait") {
		e.wait(w, r)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Api-Version", apiVersion)
	path := strings.TrimPrefix(r.URL.Path, "/v"+apiVersion)
	if e.refuse != "" && r.Method+" "+path == e.refuse {
		e.answer(w, http.StatusInternalServerError, map[string]string{"message": "no space left on device"})
		return
	}
	query := r.URL.Query()
	named := "/containers/" + e.container
	switch request := r.Method + " " + path; {
	case strings.HasSuffix(request, " /_ping"):
		e.answer(w, http.StatusOK, "OK")
	case request == "POST /images/create":
		e.image = query.Get("repo")
		e.unpack(r.Body)
		e.answer(w, http.StatusOK, map[string]string{"status": "sha256:1"})
	case request == "POST /containers/create" && e.container == "":
		e.container = query.Get("name")
		e.ended = make(chan struct{})
		e.answer(w, http.StatusCreated, map[string]string{"Id": "1"})
	case e.container != "" && request == "POST "+named+"/attach" && !e.running:
		e.stdin, _ = e.hijack(w, r)
	case e.container != "" && request == "POST "+named+"/start" && e.stdin != nil:
		e.running = true
		w.WriteHeader(http.StatusNoContent)
		if e.dies != "" {
			_, _ = io.WriteString(stdcopyWriter{e.stdin, stdcopy.Stderr}, e.dies)
			e.stdin.Close()
			e.container, e.running = "", false // dockerd removes it
			close(e.ended)
		}
	case e.container != "" && request == "GET "+named+"/json":
		e.answer(w, http.StatusOK, map[string]any{"Id": "1", "State": map[string]any{"Running": e.running}, "NetworkSettings": map[string]any{
			"Networks": map[string]any{"bridge": map[string]any{"IPAddress": "172.17.64.2"}},
		}})
	case e.running && request == "POST "+named+"/exec":
		e.answer(w, http.StatusCreated, map[string]string{"Id": "2"})
	case request == "POST /exec/2/start":
		e.run(e.hijack(w, r))
	case request == "GET /exec/2/json":
		e.answer(w, http.StatusOK, map[string]any{"ID": "2", "ExitCode": min(1, len(e.execErr))})
	case e.container != "" && request == "DELETE "+named:
		e.container, e.running = "", false
		if e.stdin != nil {
			e.stdin.Close()
		}
		if e.ended != nil {
			close(e.ended)
		}
		w.WriteHeader(http.StatusNoContent)
	case e.image != "" && e.container == "" && request == "DELETE /images/"+e.image:
		e.image = ""
		e.answer(w, http.StatusOK, []any{})
	case r.Method == http.MethodDelete, r.Method == http.MethodGet:
		e.answer(w, http.StatusNotFound, map[string]string{"message": "no such thing: " + path})
	default:
		e.t.Errorf("unexpected request %s", request)
		e.answer(w, http.StatusBadRequest, map[string]string{"message": "unexpected"})
	}
}

// wait answers at once that it waits, and then how the container ended.
func (e *engine) wait(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("condition") != "next-exit" {
		e.t.Errorf("waits for %s", r.URL.RawQuery)
	}
	e.mu.Lock()
	ended := e.ended
	e.mu.Unlock()
	w.Header().Set("Api-Version", apiVersion)
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-ended:
		_ = json.NewEncoder(w).Encode(map[string]int{"StatusCode": 255})
	case <-r.Context().Done():
	}
}

func (e *engine) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// unpack takes an image that must hold one program and nothing else.
func (e *engine) unpack(r io.Reader) {
	archive := tar.NewReader(r)
	header, err := archive.Next()
	if err != nil || header.Name != "fabric" || header.FileInfo().Mode() != 0o755 {
		e.t.Errorf("image begins with %+v, error %v", header, err)
		return
	}
	content, _ := io.ReadAll(archive)
	e.packed = string(content)
	if _, err := archive.Next(); err != io.EOF {
		e.t.Errorf("image goes on after the program: %v", err)
	}
}

// hijack takes the connection over from HTTP. What the client has sent
// already is in the reader.
func (e *engine) hijack(w http.ResponseWriter, r *http.Request) (net.Conn, io.Reader) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		e.t.Error(err)
		panic(http.ErrAbortHandler)
	}
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	return conn, buffered
}

// run is a command in the container: it reads its input to the end first.
func (e *engine) run(conn net.Conn, in io.Reader) {
	defer conn.Close()
	input, _ := io.ReadAll(in)
	e.execIn = string(input)
	_, _ = io.WriteString(stdcopyWriter{conn, stdcopy.Stdout}, e.execOut)
	_, _ = io.WriteString(stdcopyWriter{conn, stdcopy.Stderr}, e.execErr)
}

// stdcopyWriter writes the frames that stdcopy.StdCopy takes apart.
type stdcopyWriter struct {
	w      io.Writer
	stream stdcopy.StdType
}

func (s stdcopyWriter) Write(p []byte) (int, error) {
	var frame bytes.Buffer
	frame.Write([]byte{byte(s.stream), 0, 0, 0, byte(len(p) >> 24), byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))})
	frame.Write(p)
	_, err := s.w.Write(frame.Bytes())
	return len(p), err
}

// left says what the engine has not been told to remove.
func (e *engine) left() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc([]string{e.image, e.container}, func(name string) bool { return name == "" })
}

func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fabric")
	if err := os.WriteFile(path, []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

var startRequest = wire.ProbeRequest{ContainerStart: &wire.ContainerStartRequest{Fabric: "demo"}}

func TestContainerIsMadeFromTheProgramAndRemovedWithItsImage(t *testing.T) {
	e := &engine{}
	p := &Prober{DockerHost: serveEngine(t, e), Program: program(t)}
	started, err := p.Do(t.Context(), startRequest)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := started.ContainerStart.Address, netip.MustParseAddr("172.17.64.2"); got != want {
		t.Errorf("address %v, want %v", got, want)
	}
	if diff := cmp.Diff([]string{"fabric-verify-demo:probe", "fabric-verify-demo"}, e.left()); diff != "" {
		t.Error(diff)
	}
	if e.packed != "ELF" {
		t.Errorf("the image holds %q", e.packed)
	}
	if _, err := p.Do(t.Context(), wire.ProbeRequest{ContainerStop: &wire.ContainerStopRequest{}}); err != nil {
		t.Fatal(err)
	}
	if left := e.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestContainerFromBeforeIsReplaced(t *testing.T) {
	e := &engine{image: "fabric-verify-demo:probe", container: "fabric-verify-demo", running: true}
	p := &Prober{DockerHost: serveEngine(t, e), Program: program(t)}
	if _, err := p.Do(t.Context(), startRequest); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := e.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestContainerThatCannotBeStartedLeavesNothing(t *testing.T) {
	for _, request := range []string{
		"POST /images/create",
		"POST /containers/create",
		"POST /containers/fabric-verify-demo/start",
		"GET /exec/2/json",
	} {
		t.Run(request, func(t *testing.T) {
			e := &engine{refuse: request, execOut: "[]"}
			p := &Prober{DockerHost: serveEngine(t, e), Program: program(t)}
			_, err := p.Do(t.Context(), startRequest)
			if err == nil {
				_, err = p.Do(t.Context(), wire.ProbeRequest{ContainerPing: &wire.ContainerPingRequest{}})
			}
			if err == nil || !strings.Contains(err.Error(), "no space left on device") {
				t.Errorf("error %v", err)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if left := e.left(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestContainerThatDiesTellsItsExitStatusAndLastOutput(t *testing.T) {
	e := &engine{dies: "exec /fabric: no such file or directory\n"}
	p := &Prober{DockerHost: serveEngine(t, e), Program: program(t)}
	_, err := p.Do(t.Context(), startRequest)
	const want = "it ended by itself with exit status 255; the last that it printed: exec /fabric: no such file or directory"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one that says %q", err, want)
	}
	if left := e.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestContainerPingGoesInAndOutAsJSON(t *testing.T) {
	want := []wire.PingResult{{Target: netip.MustParseAddr("172.17.0.2"), Sent: 3, Received: 3}}
	out, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{execOut: string(out)}
	p := &Prober{DockerHost: serveEngine(t, e), Program: program(t)}
	if _, err := p.Do(t.Context(), startRequest); err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	req := wire.PingRequest{Targets: []netip.Addr{want[0].Target}, Size: 84, Count: 3}
	got, err := p.Do(t.Context(), wire.ProbeRequest{ContainerPing: &wire.ContainerPingRequest{Ping: req}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Ping, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	var sent wire.PingRequest
	if err := json.Unmarshal([]byte(e.execIn), &sent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(req, sent, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestContainerPingThatFailsSaysWhy(t *testing.T) {
	e := &engine{execErr: "socket: operation not permitted"}
	p := &Prober{DockerHost: serveEngine(t, e), Program: program(t)}
	if _, err := p.Do(t.Context(), startRequest); err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	_, err := p.Do(t.Context(), wire.ProbeRequest{ContainerPing: &wire.ContainerPingRequest{}})
	want := "ping from container fabric-verify-demo: /fabric node ping: exit status 1: socket: operation not permitted"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
