package wire

import (
	"net/netip"
	"reflect"

	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/plan"
)

// Clean makes everything in a reply that may be shown fit for a terminal: a
// host is not trusted with the operator's. The host's state is left as it is,
// for it goes back to the host with an apply; plan.Diff, by which it is
// shown, cleans it.
func (r *Reply) Clean() {
	r.Progress = printable.Line(r.Progress)
	clean(reflect.ValueOf(r).Elem())
}

var (
	stateType = reflect.TypeFor[plan.HostState]()
	addrType  = reflect.TypeFor[netip.Addr]()
)

func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(printable.Text(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clean(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			clean(v.Index(i))
		}
	case reflect.Struct:
		switch v.Type() {
		case stateType:
			return
		case addrType: // its zone is any text
			v.Set(reflect.ValueOf(v.Interface().(netip.Addr).WithZone("")))
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				clean(v.Field(i))
			}
		}
	}
}
