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
	"slices"
	"strings"
	"time"

	"github.com/ovsfabric/fabric/internal/osrelease"
)

const imageDir = "/var/cache/fabric-lab"

//go:embed image
var imageFiles embed.FS

// A recipe is everything that decides what an image holds. Where the packages
// are fetched from is not part of it.
type recipe struct {
	release, driver string
	packages        []string
	// sshdOptions are lines for sshd_config that only this release understands.
	sshdOptions []string
	// testing is a release that Debian still changes. The archive may hold an old
	// state of it, whose Release file has expired (Valid-Until).
	testing bool
}

var basePackages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "sudo",
	"openssh-server", "openvswitch-switch", "docker.io", "iptables",
	"iproute2", "iputils-ping", "iputils-arping", "ethtool", "iperf3", "busybox-static",
}

// recipes lists the Debian releases that a host can run, by each driver.
func recipes() []recipe {
	var all []recipe
	// From OpenSSH 9.8 on, failed logins lock out their source address, and here
	// every login comes from the one controller.
	noPenalties := []string{"PerSourcePenalties no"}
	for _, driver := range Drivers() {
		base := basePackages
		if driver == QEMU {
			// That kernel has AppArmor, without whose tools bookworm's dockerd
			// starts no container.
			base = slices.Concat(base, []string{"linux-image-cloud-amd64", "apparmor"})
		}
		withCLI := slices.Concat([]string{"docker-cli"}, base)
		all = append(all,
			recipe{release: "bookworm", driver: driver, packages: base},
			recipe{release: "trixie", driver: driver, packages: withCLI, sshdOptions: noPenalties},
			recipe{release: "forky", driver: driver, packages: withCLI, sshdOptions: noPenalties, testing: true})
	}
	return all
}

func recipeOf(release, driver string) (recipe, error) {
	if err := validateDriver(driver); err != nil {
		return recipe{}, err
	}
	var known []string
	for _, r := range recipes() {
		if r.driver != driver {
			continue
		}
		if r.release == release {
			return r, nil
		}
		known = append(known, r.release)
	}
	return recipe{}, fmt.Errorf("no image for release %q: choose one of %s", release, strings.Join(known, ", "))
}

// name is the image's: the release's, and the driver's unless that is the usual
// one.
func (r recipe) name() string { return imageName(r.release, r.driver) }

func imageName(release, driver string) string {
	if driver == defaultDriver {
		return release
	}
	return release + "-" + driver
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
	if r.testing {
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
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
	err := fs.WalkDir(imageFiles, "image", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(Drivers(), d.Name()) && d.Name() != r.driver {
				return fs.SkipDir
			}
			return nil
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

// Image returns the folder of the release's image for a driver, and builds it
// first if this machine has none of the present recipe: for Nspawn a root file
// system; for QEMU a disk that holds one, with its kernel and initramfs beside it.
// Processes that ask for the same image at once wait for one of them to build it.
func Image(ctx context.Context, release, driver string, progress io.Writer) (string, error) {
	r, err := recipeOf(release, driver)
	if err != nil {
		return "", err
	}
	if err := CheckMachine(driver); err != nil {
		return "", err
	}
	hash, err := r.hash()
	if err != nil {
		return "", err
	}
	name := r.name()
	image := filepath.Join(imageDir, name+"-"+hash)
	if err := os.MkdirAll(imageDir, 0o755); err != nil {
		return "", fmt.Errorf("image cache: %w", err)
	}
	// The lock lives on beside the images: removing it would let two builders
	// hold locks on two files of one name.
	unlock, err := lockFile(ctx, filepath.Join(imageDir, name+".lock"))
	if err != nil {
		return "", fmt.Errorf("waiting for image %s: %w", name, err)
	}
	defer unlock()
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	started := time.Now()
	fmt.Fprintf(progress, "image %s: building, this takes about half a minute\n", name)
	if err := r.build(ctx, image); err != nil {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	fmt.Fprintf(progress, "image %s: built in %.0f s, kept in %s\n", name, time.Since(started).Seconds(), image)
	return image, nil
}

// build makes the image beside its final place and renames it, so that a folder
// with an image's name always is a whole image.
func (r recipe) build(ctx context.Context, image string) (err error) {
	partial := image + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(partial)) }()
	root := filepath.Join(partial, "root")
	if err := makeDir(partial, 0o755); err != nil {
		return err
	}
	if err := r.buildRoot(ctx, root); err != nil {
		return err
	}
	if r.driver == QEMU {
		disk := filepath.Join(partial, "disk")
		if err := makeDisk(ctx, root, disk); err != nil {
			return err
		}
		return os.Rename(disk, image)
	}
	return os.Rename(root, image)
}

// makeDisk makes a QEMU image in a new folder out of a root file system.
func makeDisk(ctx context.Context, root, dir string) error {
	if err := makeDir(dir, 0o755); err != nil {
		return err
	}
	for name, pattern := range map[string]string{imageKernel: "vmlinuz-*", imageInitrd: "initrd.img-*"} {
		found, err := filepath.Glob(filepath.Join(root, "boot", pattern))
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("the packages brought %d files /boot/%s, want 1", len(found), pattern)
		}
		if err := os.Rename(found[0], filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	// A sparse file: it takes up what is in it.
	_, err := run(ctx, "mkfs.ext4", "-q", "-L", diskLabel, "-d", root, filepath.Join(dir, imageDisk), "6G")
	return err
}

// buildRoot makes a root file system in a folder that is not there yet.
func (r recipe) buildRoot(ctx context.Context, root string) (err error) {
	scratch, err := os.MkdirTemp("", "fabric-lab-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := os.CopyFS(scratch, imageFiles); err != nil {
		return err
	}
	files := filepath.Join(scratch, "image", "files")
	own, err := fs.Sub(imageFiles, "image/"+r.driver)
	if err != nil {
		return err
	}
	if err := os.CopyFS(files, own); err != nil {
		return err
	}
	hook := filepath.Join(scratch, "image", "customize.sh")
	if err := os.Chmod(hook, 0o755); err != nil {
		return err
	}

	args := append(r.mmdebstrapArgs(), "--customize-hook="+hook, r.release, root)
	mirror, err := machineMirror(ctx)
	if err != nil {
		return err
	}
	if mirror != "" {
		args = append(args, mirror)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Env = append(os.Environ(),
		"FILES="+files, "DRIVER="+r.driver,
		"SSHD_OPTIONS="+strings.Join(r.sshdOptions, "\n"))
	// Unlike a kill, an interrupt lets mmdebstrap unmount what it has mounted.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		if fault := archiveError(r.release, output.String()); fault != nil {
			return fault
		}
		return fmt.Errorf("mmdebstrap %s: %w\n%s", r.release, err, lastLines(output.String(), 20))
	}
	return nil
}

// machineMirror returns the URI from which this machine gets its own Debian
// release, or "" to leave the choice to mmdebstrap.
func machineMirror(ctx context.Context) (string, error) {
	osRelease, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("which system this is: %w", err)
	}
	release := osrelease.Parse(string(osRelease))
	codename := release["VERSION_CODENAME"]
	if release["ID"] != "debian" || codename == "" {
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
