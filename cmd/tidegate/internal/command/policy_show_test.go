package command

import (
	"bytes"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/library"
)

func TestShippedPoliciesAreShown(t *testing.T) {
	var out bytes.Buffer
	c := &cli{Env: Env{Out: &out}}
	if err := c.showPolicy(nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range library.Names() {
		if !strings.Contains(out.String(), "\n"+name+" ") && !strings.HasPrefix(out.String(), name+" ") {
			t.Errorf("wanted %s in the list", name)
		}
	}
	out.Reset()
	if err := c.showPolicy([]string{"probes"}); err != nil || !strings.Contains(out.String(), "name: probes\n") {
		t.Errorf("found %q, %v", out.String(), err)
	}
	if err := c.showPolicy([]string{"no-such"}); err == nil || !strings.Contains(err.Error(), "name one of") {
		t.Errorf("wanted the names, found %v", err)
	}
}
