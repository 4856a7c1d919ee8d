//go:build ignore

// Generate writes the models from vswitch.ovsschema, which is the one of
// Open vSwitch 3.1: a later server has all of its columns.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/ovn-kubernetes/libovsdb/modelgen"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// used names what the models contain. A client is refused by a server that
// lacks any column of its models, so they stay small.
var used = map[string][]string{
	"Open_vSwitch": {"bridges", "cur_cfg", "datapath_types", "next_cfg", "ovs_version"},
	"Bridge": {
		"controller", "datapath_type", "external_ids", "fail_mode", "name", "other_config", "ports",
		"rstp_enable", "rstp_status", "status", "stp_enable",
	},
	"Port": {"external_ids", "interfaces", "name", "other_config", "rstp_status", "status", "tag", "trunks"},
	"Interface": {
		"bfd", "bfd_status", "error", "link_state", "mtu_request", "name",
		"ofport", "options", "type",
	},
}

func main() {
	log.SetFlags(0)
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	data, err := os.ReadFile("vswitch.ovsschema")
	if err != nil {
		return err
	}
	var schema ovsdb.DatabaseSchema
	if err := json.Unmarshal(data, &schema); err != nil {
		return err
	}
	tables := make(map[string]ovsdb.TableSchema)
	for name, columns := range used {
		table := schema.Tables[name]
		kept := make(map[string]*ovsdb.ColumnSchema)
		for _, column := range columns {
			if kept[column] = table.Columns[column]; kept[column] == nil {
				return fmt.Errorf("no column %s.%s in the schema", name, column)
			}
		}
		table.Columns = kept
		tables[name] = table
	}
	schema.Tables = tables

	g, err := modelgen.NewGenerator()
	if err != nil {
		return err
	}
	for name, table := range tables {
		data := modelgen.GetTableTemplateData("vswitch", name, &table)
		if err := g.Generate(modelgen.FileName(name), modelgen.NewTableTemplate(), data); err != nil {
			return err
		}
	}
	return g.Generate("model.go", modelgen.NewDBTemplate(), modelgen.GetDBTemplateData("vswitch", schema))
}
