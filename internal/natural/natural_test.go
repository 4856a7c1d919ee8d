package natural_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/internal/natural"
)

func TestCompareOrdersNumbersByValue(t *testing.T) {
	want := []string{"", "a", "a-1", "a01", "a1", "a1b", "a2", "a10", "b", "h9x2", "h9x10", "h10"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, natural.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestCompareIsTotalOrder(t *testing.T) {
	name := rapid.StringMatching(`[a-]{0,2}[0-9]{0,3}[a-]{0,1}[0-9]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		if natural.Compare(a, b) != -natural.Compare(b, a) {
			t.Fatalf("%q and %q are not antisymmetric", a, b)
		}
		if (natural.Compare(a, b) == 0) != (a == b) {
			t.Fatalf("%q and %q: different names, same place", a, b)
		}
		if natural.Compare(a, b) <= 0 && natural.Compare(b, c) <= 0 && natural.Compare(a, c) > 0 {
			t.Fatalf("%q, %q, %q are not transitive", a, b, c)
		}
	})
}
