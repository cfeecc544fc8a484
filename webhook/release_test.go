package webhook_test

import (
	"context"
	"errors"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// outlived are revisions of template gone, which was deleted.
func outlived() []client.Object {
	var out []client.Object
	for i, name := range []string{"gone-1", "gone-2"} {
		out = append(out, &v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "gone", Number: int64(i) + 1, Files: map[string]string{"web.cue": "package web"}},
		})
	}
	return out
}

// The revisions of a deleted template are kept for those that have them.
func TestADeletedTemplateIsForThoseThatHaveIt(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{}, outlived()...)
	object := func(template, values, status string) string {
		if status != "" {
			status = `, "status": {` + status + `}`
		}
		return `{"metadata": {"name": "cart", "namespace": "shop", "generation": 4}, "spec": {"template": ` + template + `, "values": ` + values + `}` + status + `}`
	}
	const (
		create, update = admissionv1.Create, admissionv1.Update
		gone, pinned   = `{"name": "gone"}`, `{"name": "gone", "revision": 2}`
		has            = `"templateRevision": "gone-1", "observedGeneration": 4`
		missing        = `TG-TEMPLATE-NOTFOUND: spec.template.name: wanted the name of a ReleaseTemplate, found "gone", which does not exist; see what there is with: kubectl get releasetemplates`
		there          = "; there are fresh, web"
	)
	for name, tc := range map[string]struct {
		op          admissionv1.Operation
		object, old string
		code        int32
		// want is the revision, or parts of the message.
		want []string
	}{
		"a new Release does not begin with it": {create, object(gone, `{"image": "a"}`, ""), "", 403, []string{missing + there}},
		"nor by a pin":                         {create, object(pinned, `{"image": "a"}`, ""), "", 403, []string{missing + there}},
		"nor by a name that is nearly another's": {
			create, object(`{"name": "webb"}`, `{"image": "a"}`, ""), "", 403, []string{`found "webb"`, `did you mean "web"?`},
		},
		"a Release of another template does not come to it": {
			update, object(gone, `{"image": "a"}`, ""), object(`{"name": "web"}`, `{"image": "a"}`, `"templateRevision": "web-2"`), 403, []string{missing + there},
		},
		"nor by a pin, since nobody looks after it any more": {
			update, object(pinned, `{"image": "a"}`, ""), object(`{"name": "web"}`, `{"image": "a"}`, ""), 403, []string{missing + there},
		},
		"a Release that has it changes its values within the revision it has": {
			update, object(gone, `{"image": "b"}`, ""), object(gone, `{"image": "a"}`, has), 200, []string{"gone-1"},
		},
		"and has what was assigned to it where it was not rendered yet": {
			update, object(gone, `{"image": "b"}`, ""), object(gone, `{"image": "a"}`, `"assigned": {"name": "gone-2", "generation": 4}`), 200, []string{"gone-2"},
		},
		"and may pin another revision of it": {
			update, object(pinned, `{"image": "a"}`, ""), object(gone, `{"image": "a"}`, has), 200, []string{"gone-2"},
		},
		"one of which nobody knows which it has is told to pin it": {
			update, object(gone, `{"image": "b"}`, ""), object(gone, `{"image": "a"}`, ""), 403,
			[]string{missing + "; a Release that has used it before may go on with one of revisions 1, 2: spec.template.revision", there},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Tidegate.Handle(t.Context(), request{
				op: tc.op, resource: group + "releases", namespace: "shop", name: "cart", user: "alice", object: tc.object, old: tc.old,
			}.admission())
			if tc.code != 200 {
				check(t, r, tc.code, tc.want...)
				return
			}
			check(t, r, tc.code)
			if used := r.AuditAnnotations["templateRevision"]; used != tc.want[0] {
				t.Errorf("judged with %s, wanted %s", used, tc.want[0])
			}
		})
	}
}

// brought is a Rollout that brought the Release with the UID to a revision such as web-1, with
// values.
func brought(number int64, uid types.UID, revision, values string) *v1alpha1.Rollout {
	yes := true
	return &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "box-" + string(rune('0'+number)),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "tidegate.io/v1alpha1", Kind: "Release", Name: "box", UID: uid, Controller: &yes}},
		},
		Spec: v1alpha1.RolloutSpec{Release: "box", Number: number, TemplateRevision: revision + "-0123456789", Values: &runtime.RawExtension{Raw: []byte(values)}},
	}
}

func TestADetourByAnotherTemplateDoesNotEndWhatIsImmutable(t *testing.T) {
	const zoneA, zoneB = `{"image": "i", "zone": "a"}`, `{"image": "i", "zone": "b"}`
	object := func(template, values string) string {
		return `{"metadata": {"name": "box", "namespace": "shop", "uid": "now"}, "spec": {"template": {"name": "` + template + `"}, "values": ` + values + `}}`
	}
	for name, tc := range map[string]struct {
		rollouts []client.Object
		from, to string // the values
		code     int32
	}{
		"back with another value": {
			[]client.Object{brought(1, "now", "web-1", zoneA), brought(2, "now", "other-1", zoneB)}, zoneB, zoneB, 403,
		},
		"back with the value that it had": {
			[]client.Object{brought(1, "now", "web-1", zoneA), brought(2, "now", "other-1", zoneB)}, zoneB, zoneA, 200,
		},
		"back by way of two others": {
			[]client.Object{brought(1, "now", "web-1", zoneA), brought(2, "now", "other-1", zoneB), brought(3, "now", "third-7", zoneB)}, zoneB, zoneB, 403,
		},
		"the newest of the template counts": {
			[]client.Object{brought(1, "now", "web-1", zoneA), brought(2, "now", "web-2", zoneB), brought(3, "now", "other-1", zoneA)}, zoneA, zoneA, 403,
		},
		"it never was of the template": {
			[]client.Object{brought(1, "now", "other-1", zoneA), brought(2, "now", "web-other-1", zoneA)}, zoneA, zoneB, 200,
		},
		"a Release of its name was, which is deleted": {
			[]client.Object{brought(1, "before", "web-1", zoneA), brought(2, "now", "other-1", zoneB)}, zoneB, zoneB, 200,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{}, tc.rollouts...)
			r := f.Tidegate.Handle(t.Context(), request{
				op: admissionv1.Update, resource: group + "releases", namespace: "shop", name: "box", user: "alice",
				object: object("web", tc.to), old: object("other", tc.from),
			}.admission())
			if tc.code == 403 {
				check(t, r, 403, "TG-VALUES-IMMUTABLE", "values.zone")
				return
			}
			check(t, r, tc.code)
		})
	}
	t.Run("Rollouts that cannot be read are no verdict", func(t *testing.T) {
		f := newFixture(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.RolloutList); ok {
				return errors.New("the cache is broken")
			}
			return c.List(ctx, list, opts...)
		}})
		r := f.Tidegate.Handle(t.Context(), request{
			op: admissionv1.Update, resource: group + "releases", namespace: "shop", name: "box", user: "alice",
			object: object("web", zoneA), old: object("other", zoneA),
		}.admission())
		check(t, r, 500, "the cache is broken")
	})
}
