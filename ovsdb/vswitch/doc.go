// Package vswitch holds the models of the tables and columns of the
// Open_vSwitch database that the fabric reads or writes
// (ovs-vswitchd.conf.db(5)).
package vswitch

//go:generate go run generate.go
