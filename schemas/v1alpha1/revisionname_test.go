package v1alpha1

import (
	"strings"
	"testing"
)

func TestTheNameOfARevisionSaysWhoseItIs(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for _, template := range []string{"web", "web-2", "web-2-0123456789", "a.b"} {
		name := RevisionName(template, 13, digest)
		if want := template + "-13-0123456789"; name != want {
			t.Errorf("found %s, wanted %s", name, want)
		}
		if of, number, ok := ParseRevisionName(name); of != template || number != 13 || !ok {
			t.Errorf("%s: found number %d of %q, %v", name, number, of, ok)
		}
	}
	for _, name := range []string{
		"", "web", "web-3", "web-0-0123456789", "web-03-0123456789", "web-3-012345678", "web-3-012345678g", "-3-0123456789",
		"web-99999999999999999999-0123456789", "web-3-0123456789-1",
	} {
		if of, number, ok := ParseRevisionName(name); ok {
			t.Errorf("%q: found number %d of %q, which it does not say", name, number, of)
		}
	}
}
