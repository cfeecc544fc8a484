package gather

import (
	"slices"
	"testing"
)

func TestNear(t *testing.T) {
	names := []string{"ab", "cart", "cart-eu", "checkout", "ledger", "zz"}
	for name, c := range map[string]struct {
		wanted string
		want   []string
	}{
		"swapped letters":            {"crat", []string{"cart"}},
		"a part of the name":         {"check", []string{"checkout"}},
		"the nearest first":          {"car", []string{"cart", "cart-eu"}},
		"short names are not all so": {"yy", nil},
		"nothing alike":              {"payments", nil},
		"one letter too many":        {"ledgerr", []string{"ledger"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Near(c.wanted, names); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	many := []string{"a1234", "b1234", "c1234", "d1234", "e1234", "f1234"}
	if got := Near("x1234", many); !slices.Equal(got, many[:5]) {
		t.Errorf("wanted the first five, got %v", got)
	}
}
