package plan

import (
	"slices"

	"github.com/ovsfabric/fabric/templates"
)

// boot is what makes a host come back by itself with the wanted links: the
// files that all hosts share, and its own. Program is the build of the fabric
// binary; it is empty where no host was asked for its architecture.
func boot(fabric string, links *Links, shared []File, program string) (*Boot, error) {
	hostFile, err := HostFile{Version: HostFileVersion, Fabric: fabric, Links: *links}.Encode()
	if err != nil {
		return nil, err
	}
	files := slices.Clone(shared)
	for i := range files {
		if files[i].Path == templates.HostFile {
			files[i].Content = string(hostFile)
		}
	}
	return &Boot{Program: program, Files: files}, nil
}
