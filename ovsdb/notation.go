package ovsdb

import (
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
)

func whereUUID(uuid string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: uuid})}
}

// wait returns the operation that waits up to timeout milliseconds until one
// row equals ("==") or differs from ("!=") the columns in row; with 0 it is
// an assertion (RFC 7047, 5.2.6).
func wait(table, uuid, until string, timeout int, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Where: whereUUID(uuid),
		Columns: slices.Sorted(maps.Keys(row)), Until: until, Rows: []ovsdb.Row{row}, Timeout: &timeout,
	}
}

// mapMutations returns what brings the owned keys of a map column to want;
// the keys that are not owned stay. Inserting does not replace a key that is
// there (RFC 7047, 5.1), hence the delete before it.
func mapMutations(column string, have, want map[string]string, owned []string) []ovsdb.Mutation {
	keys := append(slices.Collect(maps.Keys(want)), owned...)
	slices.Sort(keys)
	var stale []any
	fresh := make(map[string]string)
	for _, key := range slices.Compact(keys) {
		old, had := have[key]
		value, wanted := want[key]
		if had == wanted && old == value {
			continue
		}
		if had {
			stale = append(stale, key)
		}
		if wanted {
			fresh[key] = value
		}
	}
	var mutations []ovsdb.Mutation
	if len(stale) > 0 {
		mutations = append(mutations, setMutation(column, ovsdb.MutateOperationDelete, stale...))
	}
	if len(fresh) > 0 {
		mutations = append(mutations, *ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, ovsMap(fresh)))
	}
	return mutations
}

func setMutation(column string, mutator ovsdb.Mutator, elements ...any) ovsdb.Mutation {
	return *ovsdb.NewMutation(column, mutator, ovsdb.OvsSet{GoSet: elements})
}

func ovsMap(m map[string]string) ovsdb.OvsMap {
	converted := make(map[any]any, len(m))
	for key, value := range m {
		converted[key] = value
	}
	return ovsdb.OvsMap{GoMap: converted}
}

func uuids(ids []string) ovsdb.OvsSet {
	var set ovsdb.OvsSet
	for _, id := range ids {
		set.GoSet = append(set.GoSet, ovsdb.UUID{GoUUID: id})
	}
	return set
}

func integers(numbers []int) ovsdb.OvsSet {
	var set ovsdb.OvsSet
	for _, n := range numbers {
		set.GoSet = append(set.GoSet, n)
	}
	return set
}

// optional returns a column of at most one integer.
func optional(n *int) ovsdb.OvsSet {
	if n == nil {
		return ovsdb.OvsSet{}
	}
	return ovsdb.OvsSet{GoSet: []any{*n}}
}

// equal says whether two columns of at most one integer are the same.
func equal(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

// mtu returns the MTU that is requested of an interface, 0 for none.
func mtu(i *vswitch.Interface) int {
	if i.MTURequest == nil {
		return 0
	}
	return *i.MTURequest
}

func mtuRequest(mtu int) ovsdb.OvsSet {
	if mtu == 0 {
		return optional(nil)
	}
	return optional(&mtu)
}
