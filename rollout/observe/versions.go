package observe

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// never is the version of an object that is not there. No object has it, so that what is applied on
// it is made, or refused where somebody else has made it meanwhile, but never written over.
const never = "1"

// Versions are the objects of sets as they were seen.
type Versions map[thing]version

type thing struct {
	schema.GroupKind
	namespace, name string
}

type version struct {
	uid     types.UID
	version string
}

func thingOf(obj *unstructured.Unstructured) thing {
	return thing{obj.GroupVersionKind().GroupKind(), obj.GetNamespace(), obj.GetName()}
}

// note remembers an object; live is nil where it is not there.
func (v Versions) note(obj, live *unstructured.Unstructured) {
	seen := version{version: never}
	if live != nil {
		seen = version{live.GetUID(), live.GetResourceVersion()}
	}
	v[thingOf(obj)] = seen
}

// Missed says whether an object was looked for and was not there.
func (v Versions) Missed(obj *unstructured.Unstructured) bool {
	seen, known := v[thingOf(obj)]
	return known && seen.version == never
}

func (w *World) saw(obj, live *unstructured.Unstructured) {
	if w.Seen != nil {
		w.Seen.note(obj, live)
	}
}

// Bind makes the apply of want rest on the object as it was seen, so that a manager that was held up can
// neither write over what another one has done since, nor bring back what it has deleted. What was not
// looked at is bound to what is there now; live is nil where nothing is.
func (v Versions) Bind(want, live *unstructured.Unstructured) {
	seen, known := v[thingOf(want)]
	switch {
	case want.GetResourceVersion() != "":
		return // the caller knows better
	case !known && live != nil:
		seen = version{uid: live.GetUID()}
	case !known:
		seen = version{version: never}
	}
	want.SetUID(seen.uid)
	want.SetResourceVersion(seen.version)
}

// Renewed remembers the version that an object which was seen has since, by this manager's own doing.
func (v Versions) Renewed(obj *unstructured.Unstructured) {
	if _, seen := v[thingOf(obj)]; seen {
		v.note(obj, obj)
	}
}
