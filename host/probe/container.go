package probe

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

// programPath is where the fabric binary is in the image, which holds
// nothing else.
const programPath = "/fabric"

// The subcommands of the fabric binary that run in the container.
var (
	idleCommand = []string{programPath, "node", "probe-container"}
	pingCommand = []string{programPath, "node", "ping"}
	arpCommand  = []string{programPath, "node", "arp"}
)

// gonePoll is how often dockerd is asked whether a container is gone.
const gonePoll = 50 * time.Millisecond

// container is a running probe container.
type container struct {
	docker *client.Client
	name   string // of the container and, with it, of the image
	image  string
	// stdin is the container's standard input. The container runs until it
	// closes, and dockerd then removes it, so that it cannot outlive this
	// process.
	stdin client.HijackedResponse
	// ended is closed when the container has ended by itself, and death says how.
	ended   chan struct{}
	death   error
	unwatch context.CancelFunc // nil before watch
}

// death is how a container ended.
type death struct {
	status int64
	output string // its last, of both streams
}

func (d death) Error() string {
	if d.output == "" {
		return fmt.Sprintf("it ended by itself with exit status %d, and printed nothing", d.status)
	}
	return fmt.Sprintf("it ended by itself with exit status %d; the last that it printed: %s", d.status, d.output)
}

// maxOutput bounds what is told of a container's output, in bytes.
const maxOutput = 1 << 10

// deathTime is how long dockerd may take to tell how a container ended, once
// something shows that it has.
const deathTime = 3 * time.Second

func (p *Prober) startContainer(ctx context.Context, req wire.ContainerStartRequest) (wire.ContainerStartResult, error) {
	if err := p.stopContainer(ctx); err != nil {
		return wire.ContainerStartResult{}, err
	}
	docker, err := client.New(client.WithHost(p.DockerHost))
	if err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("docker: %w", err)
	}
	c := &container{
		docker: docker,
		name:   "fabric-verify-" + req.Fabric,
		image:  "fabric-verify-" + req.Fabric + ":probe",
	}
	// An earlier session that was killed may have left one.
	if err := c.remove(ctx); err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("remove container and image %s from before: %w", c.name, err)
	}
	p.container = c
	result, err := c.start(ctx, p.Program)
	if err != nil {
		closeCtx, cancel := patience.TimeoutAfter(ctx, closeTimeout)
		defer cancel()
		return wire.ContainerStartResult{}, errors.Join(
			fmt.Errorf("container %s: %w", c.name, err),
			p.stopContainer(closeCtx),
		)
	}
	return result, nil
}

func (p *Prober) stopContainer(ctx context.Context) error {
	if p.container == nil {
		return nil
	}
	if err := p.container.remove(ctx); err != nil {
		return fmt.Errorf("remove container and image %s: %w", p.container.name, err)
	}
	p.container.docker.Close()
	p.container = nil
	return nil
}

func (c *container) start(ctx context.Context, program string) (wire.ContainerStartResult, error) {
	if err := c.importImage(ctx, program); err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("import its image: %w", err)
	}
	_, err := c.docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: c.name,
		Config: &dockercontainer.Config{
			Image:        c.image,
			Entrypoint:   idleCommand,
			AttachStdin:  true,
			AttachStdout: true,
			AttachStderr: true,
			OpenStdin:    true,
			StdinOnce:    true,
		},
		HostConfig: &dockercontainer.HostConfig{
			AutoRemove:     true,
			NetworkMode:    "bridge",
			ReadonlyRootfs: true,
			CapDrop:        []string{"ALL"},
			CapAdd:         []string{"NET_RAW"},
		},
	})
	if err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("create: %w", err)
	}
	attached, err := c.docker.ContainerAttach(ctx, c.name, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("attach: %w", err)
	}
	c.stdin = attached.HijackedResponse
	c.watch(ctx)
	if _, err := c.docker.ContainerStart(ctx, c.name, client.ContainerStartOptions{}); err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("start: %w", err)
	}
	inspected, err := c.docker.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
	if err != nil {
		return wire.ContainerStartResult{}, c.explained(ctx, fmt.Errorf("inspect: %w", err))
	}
	settings := inspected.Container.NetworkSettings
	if settings == nil || settings.Networks["bridge"] == nil || !settings.Networks["bridge"].IPAddress.Is4() {
		return wire.ContainerStartResult{}, c.explained(ctx, errors.New("dockerd gave it no address on the default bridge"))
	}
	return wire.ContainerStartResult{Address: settings.Networks["bridge"].IPAddress}, nil
}

// watch has dockerd tell how the container ends. It has to be asked before the
// container starts: with that, dockerd removes it when it ends. What it starts ends
// with the container, or with remove.
func (c *container) watch(ctx context.Context) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.unwatch, c.ended = cancel, make(chan struct{})
	stop := context.AfterFunc(ctx, cancel) // until dockerd has heard of it
	defer stop()
	waited := c.docker.ContainerWait(watching, c.name, client.ContainerWaitOptions{Condition: dockercontainer.WaitConditionNextExit})
	output := make(chan string, 1)
	go func() {
		var last tail
		_, _ = stdcopy.StdCopy(&last, &last, c.stdin.Reader) // it ends when the connection does
		output <- strings.TrimSpace(string(last))
	}()
	go func() {
		select {
		case end := <-waited.Result:
			c.death = death{status: end.StatusCode, output: <-output}
			close(c.ended)
		case err := <-waited.Error:
			c.death = fmt.Errorf("it does not run, and dockerd does not tell how it ended: %w", err)
			close(c.ended)
		case <-watching.Done():
		}
	}()
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-maxOutput):]
	return len(p), nil
}

// explained is an error with how the container ended, if it has.
func (c *container) explained(ctx context.Context, err error) error {
	inspected, gone := c.docker.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
	if gone == nil && inspected.Container.State != nil && inspected.Container.State.Running {
		return err
	}
	ctx, cancel := patience.Timeout(ctx, deathTime)
	defer cancel()
	select {
	case <-c.ended:
		return errors.Join(c.death, err)
	case <-ctx.Done():
		return err
	}
}

// importImage makes an image that holds the program and nothing else.
func (c *container) importImage(ctx context.Context, program string) error {
	file, err := os.Open(program)
	if err != nil {
		return err
	}
	defer file.Close()
	reader, writer := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		writer.CloseWithError(writeImage(writer, file))
	}()
	// The writer gives up when the reader is closed.
	defer func() { <-packed }()
	defer reader.Close()

	body, err := c.docker.ImageImport(ctx,
		client.ImageImportSource{Source: reader, SourceName: "-"}, c.image, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	defer body.Close()
	return readProgress(body)
}

// writeImage writes the tar archive of an image.
func writeImage(w io.Writer, program *os.File) error {
	info, err := program.Stat()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	header := &tar.Header{Name: strings.TrimPrefix(programPath, "/"), Mode: 0o755, Size: info.Size()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.Copy(archive, program); err != nil {
		return err
	}
	return archive.Close()
}

// readProgress reads the messages that dockerd sends while it works. A
// failure after the work began is in one of them, not in the HTTP status.
func readProgress(r io.Reader) error {
	messages := json.NewDecoder(r)
	for {
		var message struct {
			Error string `json:"error"`
		}
		err := messages.Decode(&message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read dockerd's answer: %w", err)
		}
		if message.Error != "" {
			return errors.New(message.Error)
		}
	}
}

// pingFromContainer runs Ping inside the container.
func (p *Prober) pingFromContainer(ctx context.Context, req wire.PingRequest) ([]wire.PingResult, error) {
	if p.container == nil {
		return nil, errors.New("ping from a container: none has been started")
	}
	var results []wire.PingResult
	if err := p.container.run(ctx, pingCommand, req, &results); err != nil {
		return nil, fmt.Errorf("ping from container %s: %w", p.container.name, p.container.explained(ctx, err))
	}
	return results, nil
}

// arpFromContainer runs ARP inside the container.
func (p *Prober) arpFromContainer(ctx context.Context, req wire.ARPRequest) ([]wire.ARPResult, error) {
	if p.container == nil {
		return nil, errors.New("ARP from a container: none has been started")
	}
	var results []wire.ARPResult
	if err := p.container.run(ctx, arpCommand, req, &results); err != nil {
		return nil, fmt.Errorf("ARP from container %s: %w", p.container.name, p.container.explained(ctx, err))
	}
	return results, nil
}

// run runs a command in the container that reads a request as JSON and writes
// its results so.
func (c *container) run(ctx context.Context, command []string, request, results any) error {
	input, err := json.Marshal(request)
	if err != nil {
		return err
	}
	created, err := c.docker.ExecCreate(ctx, c.name, client.ExecCreateOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: command,
	})
	if err != nil {
		return err
	}
	attached, err := c.docker.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	defer context.AfterFunc(ctx, attached.Close)()

	if _, err := attached.Conn.Write(input); err != nil {
		return err
	}
	if err := attached.CloseWrite(); err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, attached.Reader); err != nil {
		return errors.Join(err, ctx.Err())
	}
	exit, err := c.docker.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return err
	}
	if exit.ExitCode != 0 {
		return fmt.Errorf("%s: exit status %d: %s",
			strings.Join(command, " "), exit.ExitCode, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(stdout.Bytes(), results); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return nil
}

// remove takes the container and its image away if they exist.
func (c *container) remove(ctx context.Context) error {
	_, err := c.docker.ContainerRemove(ctx, c.name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	// A conflict means that dockerd is removing it already.
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		return err
	}
	if c.stdin.Conn != nil {
		c.stdin.Close()
	}
	if c.unwatch != nil {
		c.unwatch()
	}
	if err := c.waitGone(ctx); err != nil {
		return err
	}
	_, err = c.docker.ImageRemove(ctx, c.image, client.ImageRemoveOptions{Force: true, PruneChildren: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

func (c *container) waitGone(ctx context.Context) error {
	for {
		_, err := c.docker.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := patience.Pause(ctx, gonePoll); err != nil {
			return err
		}
	}
}
