package kmod

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/plan"
)

// configFolders are modprobe's, in the order in which a file hides those of
// the same name (modprobe.d(5)).
var configFolders = []string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"}

// barred says what forbids a module that is installed to be loaded, nil if
// nothing does. Needed are it and what it needs. A module that is blacklisted
// is not loaded when the kernel asks for it by an alias, as it does for these,
// but where another needs it; one that has an install command, in no case
// (kmod_module_probe_insert_module in libkmod).
func (k Kernel) barred(module string, needed []string) *plan.Obstacle {
	if off, _ := os.ReadFile(filepath.Join(k.Root, "proc/sys/kernel/modules_disabled")); strings.TrimSpace(string(off)) == "1" {
		return &plan.Obstacle{
			What: fmt.Sprintf("the kernel module %s cannot be loaded: kernel.modules_disabled is 1", module),
			Cure: fmt.Sprintf("have it loaded at boot, before that is set, by a line %s in /etc/modules-load.d/fabric.conf, and reboot", module),
		}
	}
	needed = k.missing(needed)
	if o := k.barredAtBoot(module, needed); o != nil {
		return o
	}
	for _, path := range k.configuration() {
		data, err := os.ReadFile(filepath.Join(k.Root, path))
		if err != nil {
			continue // as modprobe goes on, too
		}
		for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", " ")) {
			if forbids(strings.Fields(line), module, needed) {
				return &plan.Obstacle{
					What: fmt.Sprintf("the kernel module %s is not loaded: %s says %q", module, path, strings.TrimSpace(line)),
					Cure: fmt.Sprintf("take that line out, then modprobe %s", module),
				}
			}
		}
	}
	return nil
}

// forbids tells whether a line of modprobe.d(5) does.
func forbids(words []string, module string, needed []string) bool {
	if len(words) < 2 {
		return false
	}
	about := strings.ReplaceAll(words[1], "-", "_")
	switch words[0] {
	case "blacklist":
		return about == module
	case "install":
		return len(words) > 2 && slices.Contains(needed, about) &&
			slices.Contains([]string{"false", "true", ":"}, filepath.Base(words[2]))
	}
	return false
}

// barredAtBoot looks at the kernel's command line: modprobe.blacklist is
// modprobe's, module_blacklist the kernel's.
func (k Kernel) barredAtBoot(module string, needed []string) *plan.Obstacle {
	line, err := os.ReadFile(filepath.Join(k.Root, "proc/cmdline"))
	if err != nil {
		return nil
	}
	for word := range strings.FieldsSeq(string(line)) {
		key, value, _ := strings.Cut(word, "=")
		names := strings.Split(strings.ReplaceAll(value, "-", "_"), ",")
		if key == "modprobe.blacklist" && slices.Contains(names, module) ||
			key == "module_blacklist" && slices.ContainsFunc(needed, func(m string) bool { return slices.Contains(names, m) }) {
			return &plan.Obstacle{
				What: fmt.Sprintf("the kernel module %s is not loaded: the kernel's command line says %s", module, word),
				Cure: "take that out of GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub and reboot",
			}
		}
	}
	return nil
}

// configuration lists modprobe's files, those that others hide left out.
func (k Kernel) configuration() []string {
	var files []string
	seen := make(map[string]bool)
	for _, folder := range configFolders {
		entries, err := os.ReadDir(filepath.Join(k.Root, folder))
		if err != nil {
			continue // most hosts have two of them
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".conf" && !seen[e.Name()] {
				seen[e.Name()] = true
				files = append(files, filepath.Join(folder, e.Name()))
			}
		}
	}
	return files
}
