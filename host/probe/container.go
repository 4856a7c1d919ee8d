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
}

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
			Image:       c.image,
			Entrypoint:  idleCommand,
			AttachStdin: true,
			OpenStdin:   true,
			StdinOnce:   true,
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
	attached, err := c.docker.ContainerAttach(ctx, c.name, client.ContainerAttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("attach: %w", err)
	}
	c.stdin = attached.HijackedResponse
	if _, err := c.docker.ContainerStart(ctx, c.name, client.ContainerStartOptions{}); err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("start: %w", err)
	}
	inspected, err := c.docker.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
	if err != nil {
		return wire.ContainerStartResult{}, fmt.Errorf("inspect: %w", err)
	}
	settings := inspected.Container.NetworkSettings
	if settings == nil || settings.Networks["bridge"] == nil || !settings.Networks["bridge"].IPAddress.Is4() {
		return wire.ContainerStartResult{}, errors.New("dockerd gave it no address on the default bridge: look at docker logs " + c.name)
	}
	return wire.ContainerStartResult{Address: settings.Networks["bridge"].IPAddress}, nil
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
	results, err := p.container.ping(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ping from container %s: %w", p.container.name, err)
	}
	return results, nil
}

func (c *container) ping(ctx context.Context, req wire.PingRequest) ([]wire.PingResult, error) {
	input, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	created, err := c.docker.ExecCreate(ctx, c.name, client.ExecCreateOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: pingCommand,
	})
	if err != nil {
		return nil, err
	}
	attached, err := c.docker.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	defer attached.Close()
	defer context.AfterFunc(ctx, attached.Close)()

	if _, err := attached.Conn.Write(input); err != nil {
		return nil, err
	}
	if err := attached.CloseWrite(); err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, attached.Reader); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	exit, err := c.docker.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return nil, err
	}
	if exit.ExitCode != 0 {
		return nil, fmt.Errorf("%s: exit status %d: %s",
			strings.Join(pingCommand, " "), exit.ExitCode, strings.TrimSpace(stderr.String()))
	}
	var results []wire.PingResult
	if err := json.Unmarshal(stdout.Bytes(), &results); err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(pingCommand, " "), err)
	}
	return results, nil
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
		if err := pause(ctx, gonePoll); err != nil {
			return err
		}
	}
}
