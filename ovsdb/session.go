package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/ovsdb/vswitch"
)

// answerTime is what a local ovsdb-server, which answers in milliseconds,
// has to do so.
const answerTime = 5 * time.Second

// A session is one connection to the database. It lasts for one call of a
// Resource, so there is nothing to reconnect.
type session struct {
	client client.Client
}

func dial(ctx context.Context, endpoint string) (*session, error) {
	ctx, cancel := patience.Timeout(ctx, answerTime)
	defer cancel()
	models, err := vswitch.FullDatabaseModel()
	if err != nil {
		return nil, err
	}
	c, err := client.NewOVSDBClient(models, client.WithEndpoint(endpoint))
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		if ctx.Err() != nil { // libovsdb has it in the text alone
			return nil, ctx.Err()
		}
		return nil, err
	}
	return &session{client: c}, nil
}

func (s *session) close() { s.client.Close() }

// transact runs the operations as one transaction. Its error is that of the
// first operation that failed, or of the commit.
func (s *session) transact(ctx context.Context, operations ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	results, err := s.client.Transact(ctx, operations...)
	if err != nil {
		return nil, fmt.Errorf("asking ovsdb-server: %w", err)
	}
	if failed, err := ovsdb.CheckOperationResults(results, operations); err != nil {
		if len(failed) > 0 { // the first one: the server ran none after it
			return nil, failed[0]
		}
		return nil, err
	}
	return results, nil
}

// read returns all rows that the fabric may have to do with, as they are at
// one moment.
func (s *session) read(ctx context.Context) (*snapshot, error) {
	tables := []string{vswitch.OpenvSwitchTable, vswitch.BridgeTable, vswitch.PortTable, vswitch.InterfaceTable}
	schema := vswitch.Schema()
	var selects []ovsdb.Operation
	for _, table := range tables {
		columns := []string{"_uuid"}
		for column := range schema.Table(table).Columns {
			columns = append(columns, column)
		}
		slices.Sort(columns)
		selects = append(selects, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: table, Columns: columns})
	}
	results, err := s.transact(ctx, selects...)
	if err != nil {
		return nil, err
	}
	if len(results) != len(tables) {
		return nil, fmt.Errorf("ovsdb-server answered %d operations of %d", len(results), len(tables))
	}

	cache := s.client.Cache()
	if cache == nil { // the connection was lost meanwhile
		return nil, client.ErrNotConnected
	}
	db := cache.DatabaseModel()
	roots, err := decode(db, results[0].Rows, func(r *vswitch.OpenvSwitch) *string { return &r.UUID })
	if err != nil {
		return nil, err
	}
	bridges, err := decode(db, results[1].Rows, func(r *vswitch.Bridge) *string { return &r.UUID })
	if err != nil {
		return nil, err
	}
	ports, err := decode(db, results[2].Rows, func(r *vswitch.Port) *string { return &r.UUID })
	if err != nil {
		return nil, err
	}
	interfaces, err := decode(db, results[3].Rows, func(r *vswitch.Interface) *string { return &r.UUID })
	if err != nil {
		return nil, err
	}
	if len(roots) != 1 {
		return nil, errors.New("the Open_vSwitch database is not initialised: run ovs-vsctl init")
	}
	return newSnapshot(roots[0], bridges, ports, interfaces), nil
}

// decode turns the rows of one table into its model, of which uuid returns
// the field that has no column.
func decode[T any](db model.DatabaseModel, rows []ovsdb.Row, uuid func(*T) *string) ([]T, error) {
	decoded := make([]T, len(rows))
	for i := range rows {
		info, err := db.NewModelInfo(&decoded[i])
		if err != nil {
			return nil, err
		}
		if err := db.Mapper.GetRowData(&rows[i], info); err != nil {
			return nil, fmt.Errorf("reading a row: %w", err)
		}
		id, ok := rows[i]["_uuid"].(ovsdb.UUID)
		if !ok {
			return nil, fmt.Errorf("a row of %s has no _uuid", info.Metadata.TableName)
		}
		*uuid(&decoded[i]) = id.GoUUID
	}
	return decoded, nil
}

// configured returns when ovs-vswitchd has taken over the configuration that
// has the given number, which a transaction that is committed has not yet
// (ovs-vswitchd.conf.db(5), Open_vSwitch.next_cfg).
func (s *session) configured(ctx context.Context, root string, number int) error {
	const patience = 1000 // ms, for one wait operation: bounds what a cancelled one leaves behind
	current := ovsdb.Operation{
		Op: ovsdb.OperationSelect, Table: vswitch.OpenvSwitchTable,
		Where: whereUUID(root), Columns: []string{"cur_cfg"},
	}
	for {
		results, err := s.transact(ctx, current)
		if err != nil {
			return err
		}
		seen, err := integer(results[0], "cur_cfg")
		if err != nil {
			return err
		}
		if seen >= number {
			return nil
		}
		_, err = s.transact(ctx, wait(vswitch.OpenvSwitchTable, root, "!=", patience, ovsdb.Row{"cur_cfg": seen}))
		if timedOut := (*ovsdb.TimedOut)(nil); err != nil && !errors.As(err, &timedOut) {
			return err
		}
	}
}

// integer returns an integer column of the one row that was selected.
func integer(result ovsdb.OperationResult, column string) (int, error) {
	if len(result.Rows) != 1 {
		return 0, fmt.Errorf("%d rows where one was expected for %s", len(result.Rows), column)
	}
	n, ok := result.Rows[0][column].(float64) // as encoding/json decodes any number
	if !ok {
		return 0, fmt.Errorf("%s is %v, not a number", column, result.Rows[0][column])
	}
	return int(n), nil
}
