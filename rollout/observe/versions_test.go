package observe

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func TestAWriteIsBoundToWhatWasSeen(t *testing.T) {
	t.Parallel()
	service := func(uid types.UID, version string) *unstructured.Unstructured {
		out := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service"}}
		out.SetName("cart")
		out.SetUID(uid)
		out.SetResourceVersion(version)
		return out
	}
	for name, c := range map[string]struct {
		// seen is what the decision rested on, where it looked at all.
		looked     bool
		seen, live *unstructured.Unstructured
		want       *unstructured.Unstructured
		uid        types.UID
		version    string
	}{
		"what was seen is written on the version that was seen":        {true, service("a", "7"), service("a", "9"), service("", ""), "a", "7"},
		"what was seen and is gone does not come back":                 {true, service("a", "7"), nil, service("", ""), "a", "7"},
		"what was not there is made, and never written over":           {true, nil, service("a", "9"), service("", ""), "", "1"},
		"what nobody looked at stays the object that it is":            {false, nil, service("a", "9"), service("", ""), "a", ""},
		"what nobody looked at, and is not there, is made":             {false, nil, nil, service("", ""), "", "1"},
		"who has said on which version it is to be written knows best": {true, service("a", "7"), service("a", "9"), service("b", "3"), "b", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &World{Seen: Versions{}}
			if c.looked {
				w.saw(service("", ""), c.seen)
			}
			w.Seen.Bind(c.want, c.live)
			if c.want.GetUID() != c.uid || c.want.GetResourceVersion() != c.version {
				t.Errorf("bound to %q at %q, want %q at %q", c.want.GetUID(), c.want.GetResourceVersion(), c.uid, c.version)
			}
		})
	}
	// What this manager itself has made another version since is written on that one, and nothing else is added.
	own, want := Versions{}, service("", "")
	if own.Renewed(service("a", "8")); len(own) != 0 {
		t.Errorf("%v are bound to, and nothing was looked at", own)
	}
	own.note(want, service("a", "7"))
	own.Renewed(service("a", "8"))
	if own.Bind(want, nil); want.GetResourceVersion() != "8" {
		t.Errorf("bound to %q, want the version since", want.GetResourceVersion())
	}
	// Of a Rollout that has ended nothing is kept, and nothing need be.
	ended := &World{}
	want = service("", "")
	ended.saw(want, nil)
	if ended.Seen.Bind(want, nil); want.GetResourceVersion() != never {
		t.Errorf("bound to %q, want %q", want.GetResourceVersion(), never)
	}
}
