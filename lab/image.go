package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const imageDir = "/var/cache/fabric-lab"

//go:embed image
var imageFiles embed.FS

// A recipe is everything that decides what an image holds. Where the packages
// are fetched from is not part of it.
type recipe struct {
	release  string
	packages []string
	// sshdOptions are lines for sshd_config that only this release understands.
	sshdOptions []string
}

var basePackages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "sudo",
	"openssh-server", "openvswitch-switch", "docker.io", "iptables",
	"iproute2", "iputils-ping", "iputils-arping", "ethtool", "iperf3", "busybox-static",
}

// recipes lists the Debian releases that a host can run.
func recipes() []recipe {
	return []recipe{
		{release: "bookworm", packages: basePackages},
		{
			release:  "trixie",
			packages: append([]string{"docker-cli"}, basePackages...),
			// From OpenSSH 9.8 on, failed logins lock out their source address,
			// and here every login comes from the one controller.
			sshdOptions: []string{"PerSourcePenalties no"},
		},
	}
}

func recipeOf(release string) (recipe, error) {
	var known []string
	for _, r := range recipes() {
		if r.release == release {
			return r, nil
		}
		known = append(known, r.release)
	}
	return recipe{}, fmt.Errorf("no image for release %q: choose one of %s", release, strings.Join(known, ", "))
}

// mmdebstrapArgs are the options that shape the image's content.
func (r recipe) mmdebstrapArgs() []string {
	args := []string{
		"--variant=minbase",
		"--format=directory",
		"--include=" + strings.Join(r.packages, ","),
		`--aptopt=Acquire::Languages "none"`,
		"--dpkgopt=force-unsafe-io",
	}
	for _, path := range []string{"doc", "info", "lintian", "locale", "man"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+path+"/*")
	}
	return args
}

// hash changes when the recipe does, so that an old image is not taken for it.
func (r recipe) hash() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%q\n", r.mmdebstrapArgs(), r.sshdOptions)
	err := fs.WalkDir(imageFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := imageFiles.ReadFile(path)
		fmt.Fprintf(h, "%q %q\n", path, content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the embedded image files: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// Image returns the folder of the release's root file system, and builds it
// first if this machine has none of the present recipe. Processes that ask for
// the same image at once wait for one of them to build it.
func Image(ctx context.Context, release string, progress io.Writer) (string, error) {
	r, err := recipeOf(release)
	if err != nil {
		return "", err
	}
	if err := CheckMachine(); err != nil {
		return "", err
	}
	hash, err := r.hash()
	if err != nil {
		return "", err
	}
	image := filepath.Join(imageDir, release+"-"+hash)
	if err := os.MkdirAll(imageDir, 0o755); err != nil {
		return "", fmt.Errorf("image cache: %w", err)
	}
	// The lock lives on beside the images: removing it would let two builders
	// hold locks on two files of one name.
	unlock, err := lockFile(ctx, filepath.Join(imageDir, release+".lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for image %s: %w", release, err)
	}
	defer unlock()
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	started := time.Now()
	fmt.Fprintf(progress, "image %s: building, this takes about half a minute\n", release)
	if err := r.build(ctx, image); err != nil {
		return "", fmt.Errorf("image %s: %w", release, err)
	}
	fmt.Fprintf(progress, "image %s: built in %.0f s, kept in %s\n", release, time.Since(started).Seconds(), image)
	return image, nil
}

// build makes the image beside its final place and renames it, so that a folder
// with an image's name always is a whole image.
func (r recipe) build(ctx context.Context, image string) (err error) {
	files, err := os.MkdirTemp("", "fabric-lab-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(files)) }()
	if err := os.CopyFS(files, imageFiles); err != nil {
		return err
	}
	hook := filepath.Join(files, "image", "customize.sh")
	if err := os.Chmod(hook, 0o755); err != nil {
		return err
	}

	partial := image + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	args := append(r.mmdebstrapArgs(), "--customize-hook="+hook, r.release, partial)
	mirror, err := machineMirror(ctx)
	if err != nil {
		return err
	}
	if mirror != "" {
		args = append(args, mirror)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Env = append(os.Environ(),
		"FILES="+filepath.Join(files, "image", "files"),
		"SSHD_OPTIONS="+strings.Join(r.sshdOptions, "\n"))
	// Unlike a kill, an interrupt lets mmdebstrap unmount what it has mounted.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), os.RemoveAll(partial))
	case err != nil:
		err = fmt.Errorf("mmdebstrap %s: %w\n%s", r.release, err, lastLines(output.String(), 20))
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, image)
}

// machineMirror returns the URI from which this machine gets its own Debian
// release, or "" to leave the choice to mmdebstrap.
func machineMirror(ctx context.Context) (string, error) {
	osRelease, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("which system this is: %w", err)
	}
	id, codename := osReleaseFields(string(osRelease))
	if id != "debian" || codename == "" {
		return "", nil
	}
	out, err := run(ctx, "apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return "", fmt.Errorf("which mirror this machine uses: %w", err)
	}
	return mirrorOf(out, codename), nil
}

// mirrorOf picks the mirror out of lines of "SUITE COMPONENT URI".
func mirrorOf(targets, codename string) string {
	for line := range strings.Lines(targets) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == codename && f[1] == "main" {
			return f[2]
		}
	}
	return ""
}

// osReleaseFields reads ID and VERSION_CODENAME, see os-release(5).
func osReleaseFields(content string) (id, codename string) {
	for line := range strings.Lines(content) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			id = value
		case "VERSION_CODENAME":
			codename = value
		}
	}
	return id, codename
}
