package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const group = "tidegate.io/"

func release(values string, template ...string) string {
	name := "web"
	if len(template) > 0 {
		name = template[0]
	}
	return `{"apiVersion": "tidegate.io/v1alpha1", "kind": "Release", "metadata": {"name": "cart", "namespace": "shop"},
		"spec": {"template": {"name": "` + name + `"}, "values": ` + values + `}}`
}

func TestReleaseIsJudgedByWhatItBecomes(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	if err := f.policies.Put(eval.Source{Name: "registries", At: []v1alpha1.PolicyMoment{v1alpha1.AtRelease}, Rego: `package p
deny contains msg if {
	input.request.kind.kind == "Deployment"
	input.release.name == "cart"
	some c in input.object.spec.template.spec.containers
	not startswith(c.image, "ghcr.io/")
	msg := sprintf("wanted ghcr.io, found %s, applied by %s", [c.image, input.request.userInfo.username])
}`}); err != nil {
		t.Fatal(err)
	}
	const update, create = admissionv1.Update, admissionv1.Create
	good := `{"image": "ghcr.io/shop/cart:1"}`
	for name, tc := range map[string]struct {
		op          admissionv1.Operation
		object, old string
		code        int32
		want        []string
	}{
		"good values": {create, release(good), "", 200, nil},
		"every problem is on a line of its own": {create, release(`{"port": 70000}`), "", 403, []string{
			"TG-VALUES-INVALID: Release \"cart\" in namespace \"shop\" does not fit template web-10:\n" +
				"  values.image: wanted a string, found nothing; set it\n  values.port: wanted 1 to 65535, found 70000",
		}},
		"a policy over the rendered objects": {create, release(`{"image": "quay.io/x"}`), "", 403, []string{
			"TG-POLICY-DENY: wanted ghcr.io, found quay.io/x, applied by alice (policy registries)",
		}},
		"a template that is not there":       {create, release(good, "wev"), "", 403, []string{"TG-TEMPLATE-NOTFOUND", `found "wev"`, `there are fresh, web; did you mean "web"?`}},
		"a template like no other":           {create, release(good, "database"), "", 403, []string{"there are fresh, web"}},
		"a template without a revision":      {create, release(good, "fresh"), "", 403, []string{"TG-TEMPLATE-NOTFOUND", "which has none"}},
		"a revision that is not there":       {create, strings.Replace(release(good), `"web"`, `"web", "revision": 7`, 1), "", 403, []string{"spec.template.revision: wanted revision 7", "found revisions 1, 2, 10"}},
		"a revision that is pinned":          {create, strings.Replace(release(good), `"web"`, `"web", "revision": 2`, 1), "", 200, nil},
		"values that cost too much":          {create, release(`{"image": "bomb"}`), "", 403, []string{"TG-RENDER-BUDGET: Release shop/cart: wanted it to be rendered within 2s", "; do: "}},
		"an engine that fails is no verdict": {create, release(`{"image": "engine"}`), "", 500, []string{"TG-WEBHOOK-ERROR", "out of order"}},
		"an immutable value that stays":      {update, release(`{"image": "ghcr.io/b", "zone": "a"}`), release(`{"image": "ghcr.io/a", "zone": "a"}`), 200, nil},
		"an immutable value that changes": {update, release(`{"image": "ghcr.io/a", "zone": "b"}`), release(`{"image": "ghcr.io/a", "zone": "a"}`), 403, []string{
			"TG-VALUES-IMMUTABLE: Release \"cart\" in namespace \"shop\": wanted no change of what template web-10 fixes when a Release is made, found: values.zone: wanted \"a\", which it was made with, found \"b\"\n" +
				"do: put the values back, or make another Release",
		}},
		"an immutable value of another template": {update, release(`{"image": "ghcr.io/a", "zone": "b"}`), release(`{"image": "ghcr.io/a", "zone": "a"}`, "old"), 200, nil},
		"values that cannot be compared":         {update, release(`{"image": "ghcr.io/a", "engine": true}`), release(`{"image": "ghcr.io/a"}`), 500, []string{"out of order"}},
		"an update of nothing passes, though the values do not fit any more": {
			update, release(`{"port": 70000, "a": 1}`), release(`{"a": 1, "port": 70000}`), 200, nil,
		},
		"an update that is deleting is judged when it changes something": {
			update,
			strings.Replace(release(`{"port": 70000}`), `"metadata": {`, `"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", `, 1),
			release(good), 403,
			[]string{"TG-VALUES-INVALID"},
		},
		"a large number that changes in its last digit is a change": {
			update, release(`{"n": 9007199254740993}`), release(`{"n": 9007199254740992}`), 403, []string{"TG-VALUES-INVALID"},
		},
		"a delete passes":      {admissionv1.Delete, "", release(good), 200, nil},
		"no object is refused": {create, "", "", 403, []string{"TG-REQUEST-MALFORMED"}},
		"a wrong type":         {create, `{"spec": []}`, "", 403, []string{"TG-REQUEST-MALFORMED"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Tidegate.Handle(t.Context(), request{
				op: tc.op, resource: group + "releases", namespace: "shop", name: "cart", user: "alice", object: tc.object, old: tc.old,
			}.admission())
			check(t, r, tc.code, tc.want...)
		})
	}
}

func TestReleaseIsToldOfAMissingMetricSource(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	r := f.Tidegate.Handle(t.Context(), request{
		op: admissionv1.Create, resource: group + "releases", namespace: "shop", name: "cart", user: "alice", object: release(`{"image": "a"}`),
	}.admission())
	check(t, r, 200)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], `MetricSource "main", which does not exist`) {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

func template(source string) string {
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"name": "web"}, "spec": map[string]any{"files": map[string]string{"web.cue": source}},
	})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestTemplate(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	for name, tc := range map[string]struct {
		op       admissionv1.Operation
		source   string
		old      string
		code     int32
		want     []string
		warnings []string
	}{
		"a mistake is refused with its lines": {
			admissionv1.Create, "broken", "", 403,
			[]string{"TG-TEMPLATE-BROKEN", "\n  web.cue:1:1: expected a package\n  web.cue:2:1: and more"},
			nil,
		},
		"what would become of the releases is told": {
			admissionv1.Update, "stricter", template("package web"), 200, nil, []string{
				"of 2 releases of template web: 1 unchanged, 0 change in place, 0 roll, 1 would break and keep what they have; 1 more pin a revision or follow a channel, and stay where they are",
				"would break: shop/old: values.image: wanted a string, found nothing; set it",
			},
		},
		"releases that would roll are counted": {
			admissionv1.Update, "other", template("package web"), 200, nil, []string{"of 2 releases of template web: 0 unchanged, 0 change in place, 2 roll, 0 would break and keep what they have; 1 more pin a revision or follow a channel, and stay where they are"},
		},
		"an update of nothing is not looked at":    {admissionv1.Update, "broken", template("broken"), 200, nil, nil},
		"a template that costs too much":           {admissionv1.Create, "bomb", "", 403, []string{"TG-RENDER-BUDGET: ReleaseTemplate", "within 3s", "; do: "}, nil},
		"an engine that fails is no verdict":       {admissionv1.Create, "engine", "", 500, []string{"TG-WEBHOOK-ERROR"}, nil},
		"a template that is too large is refused":  {admissionv1.Create, strings.Repeat("x", 256<<10+1), "", 403, []string{"262144 bytes"}, nil},
		"a template in use is not deleted":         {admissionv1.Delete, "", template("package web"), 403, []string{"TG-TEMPLATE-INUSE", "found 3", "shop/cart"}, nil},
		"a template that nobody uses is":           {admissionv1.Delete, "", strings.Replace(template("x"), "web", "fresh", 1), 200, nil, nil},
		"a delete without an old object is denied": {admissionv1.Delete, "", "", 403, []string{"TG-REQUEST-MALFORMED"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := request{op: tc.op, resource: group + "releasetemplates", user: "alice", old: tc.old}
			if tc.op != admissionv1.Delete {
				r.object = template(tc.source)
			}
			got := f.Tidegate.Handle(t.Context(), r.admission())
			check(t, got, tc.code, tc.want...)
			if strings.Join(got.Warnings, "\n") != strings.Join(tc.warnings, "\n") {
				t.Errorf("warnings:\n%s", strings.Join(got.Warnings, "\n"))
			}
		})
	}
}

// A Release is compared with its newest Rollout: what it is rendered to now may be the same
// set of pods with another route, or with another number of them.
func TestTemplateImpactIsOnWhatStands(t *testing.T) {
	const revision, digest = "0a1b2c3d4e", "sha256:web"
	follower := func(name string, phase v1alpha1.RolloutPhase, revision, digest string, generation int64) []client.Object {
		return []client.Object{
			&v1alpha1.Release{
				ObjectMeta: metav1.ObjectMeta{Namespace: "mall", Name: name, Generation: 4},
				Spec: v1alpha1.ReleaseSpec{
					Template: v1alpha1.TemplateReference{Name: "mall"}, Values: &runtime.RawExtension{Raw: []byte(`{"image": "a"}`)},
				},
				Status: v1alpha1.ReleaseStatus{Revision: revision, Rollout: name + "-1"},
			},
			&v1alpha1.Rollout{
				ObjectMeta: metav1.ObjectMeta{Namespace: "mall", Name: name + "-1"},
				Spec:       v1alpha1.RolloutSpec{Release: name, Number: 1, Revision: revision, Digest: digest, ReleaseGeneration: generation},
				Status:     v1alpha1.RolloutStatus{Phase: phase},
			},
		}
	}
	fresh := follower("fresh", "", "", "", 0)[:1]
	fresh[0].(*v1alpha1.Release).Status = v1alpha1.ReleaseStatus{}
	lost := follower("lost", "", revision, "", 0)[:1]
	for name, tc := range map[string]struct {
		objects []client.Object
		want    string
	}{
		"the same digest is unchanged": {
			follower("a", v1alpha1.RolloutSucceeded, revision, digest, 4), "1 unchanged, 0 change in place, 0 roll",
		},
		"the same revision with another digest changes in place": {
			follower("a", v1alpha1.RolloutSucceeded, revision, "sha256:older", 4), "0 unchanged, 1 change in place, 0 roll",
		},
		"another revision rolls": {
			follower("a", v1alpha1.RolloutSucceeded, "eeeeeeeeee", "sha256:older", 4), "0 unchanged, 0 change in place, 1 roll",
		},
		"a revision that was rejected is not tried again": {
			follower("a", v1alpha1.RolloutAborted, revision, "sha256:older", 4), "1 unchanged, 0 change in place, 0 roll",
		},
		"a revision that was rejected before the Release was applied anew is": {
			follower("a", v1alpha1.RolloutAborted, revision, "sha256:older", 3), "0 unchanged, 1 change in place, 0 roll",
		},
		"a Release without a Rollout rolls":          {fresh, "0 unchanged, 0 change in place, 1 roll"},
		"a Release whose Rollout is not there rolls": {lost, "0 unchanged, 0 change in place, 1 roll"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{}, tc.objects...)
			raw := strings.Replace(template("package mall"), `"name":"web"`, `"name":"mall"`, 1)
			got := f.Tidegate.Handle(t.Context(), request{
				op: admissionv1.Create, resource: group + "releasetemplates", user: "alice", object: raw,
			}.admission())
			check(t, got, 200)
			want := "of 1 releases of template mall: " + tc.want + ", 0 would break and keep what they have"
			if strings.Join(got.Warnings, "\n") != want {
				t.Errorf("warnings:\n%s\nwanted:\n%s", strings.Join(got.Warnings, "\n"), want)
			}
		})
	}
	t.Run("a Rollout that cannot be read is no verdict", func(t *testing.T) {
		f := newFixture(t, interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if _, ok := obj.(*v1alpha1.Rollout); ok {
					return errors.New("no answer")
				}
				return c.Get(ctx, key, obj, opts...)
			},
		})
		got := f.Tidegate.Handle(t.Context(), request{
			op: admissionv1.Create, resource: group + "releasetemplates", user: "alice", object: template("package web"),
		}.admission())
		check(t, got, 500, "no answer")
	})
}

func TestTidegatesOwnKindsAreItsOwn(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	const namespaces = "system:serviceaccount:kube-system:namespace-controller"
	for name, tc := range map[string]struct {
		op       admissionv1.Operation
		resource string
		user     string
		code     int32
	}{
		"a rollout is not created by hand":          {admissionv1.Create, "rollouts", "alice", 403},
		"nor deleted":                               {admissionv1.Delete, "rollouts", "alice", 403},
		"a template revision is not edited":         {admissionv1.Update, "templaterevisions", "alice", 403},
		"a status is not written":                   {admissionv1.Update, "rollouts/status", "alice", 403},
		"nor a release's":                           {admissionv1.Update, "releases/status", "alice", 403},
		"nor a gate's":                              {admissionv1.Update, "gates/status", "alice", 403},
		"nor by the garbage collector":              {admissionv1.Update, "releases/status", gc, 403},
		"a command is not edited":                   {admissionv1.Update, "rolloutcommands", "alice", 403},
		"nor deleted, being the record":             {admissionv1.Delete, "rolloutcommands", "alice", 403},
		"the manager writes rollouts":               {admissionv1.Create, "rollouts", manager, 200},
		"and statuses":                              {admissionv1.Update, "releases/status", manager, 200},
		"the garbage collector deletes rollouts":    {admissionv1.Delete, "rollouts", gc, 200},
		"the garbage collector orphans them":        {admissionv1.Update, "rollouts", gc, 200},
		"the namespace controller deletes commands": {admissionv1.Delete, "rolloutcommands", namespaces, 200},
		"the namespace controller edits nothing":    {admissionv1.Update, "rollouts", namespaces, 403},
		"a kind that is not known":                  {admissionv1.Create, "surprises", manager, 403},
		"a break glass is not honoured":             {admissionv1.Create, "breakglasses", "alice", 403},
		"and can be deleted":                        {admissionv1.Delete, "breakglasses", "alice", 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Tidegate.Handle(t.Context(), request{
				op: tc.op, resource: group + tc.resource, namespace: "shop", name: "x", user: tc.user, object: `{}`, old: `{}`,
			}.admission())
			check(t, r, tc.code)
			if tc.code == 403 && (!strings.Contains(r.Result.Message, "TG-") || !strings.Contains(r.Result.Message, "do: ")) {
				t.Errorf("wanted a code and what to do: %s", r.Result.Message)
			}
		})
	}
	t.Run("another group", func(t *testing.T) {
		check(t, f.Tidegate.Handle(t.Context(), request{op: admissionv1.Create, resource: "apps/deployments", user: manager}.admission()), 403)
	})
}

func TestRolloutCommand(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	command := func(fields string) string { return `{"spec": {` + fields + `}}` }
	for name, tc := range map[string]struct {
		user, object string
		code         int32
		want         string
	}{
		"an abort":    {"alice", command(`"rollout": "cart-2", "action": "abort", "actor": "alice"`), 200, ""},
		"an approval": {"alice", command(`"rollout": "cart-2", "action": "approve", "step": 2, "actor": "alice"`), 200, ""},
		"one that goes with something": {
			"alice", `{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"}]}, ` + command(`"rollout": "cart-2", "action": "abort", "actor": "alice"`)[1:], 403, `TG-COMMAND-INVALID: metadata.ownerReferences of rolloutcommands "x"`,
		},
		"an actor that is claimed":     {"alice", command(`"rollout": "cart-2", "action": "abort", "actor": "bob"`), 403, "TG-COMMAND-ACTOR"},
		"an actor that is not stamped": {"alice", command(`"rollout": "cart-2", "action": "abort"`), 403, "TG-COMMAND-ACTOR"},
		"a user without the verb":      {"mallory", command(`"rollout": "cart-2", "action": "approve", "step": 2, "actor": "mallory"`), 403, `TG-COMMAND-FORBIDDEN: wanted a user with the verb "approve"`},
		"resume needs the verb pause":  {"pat", command(`"rollout": "cart-2", "action": "resume", "actor": "pat"`), 200, ""},
		"pause is not abort":           {"pat", command(`"rollout": "cart-2", "action": "abort", "actor": "pat"`), 403, "TG-COMMAND-FORBIDDEN"},
		"rbac that cannot be asked":    {"eve", command(`"rollout": "cart-2", "action": "abort", "actor": "eve"`), 500, "no answer"},
		"a rollout that has ended":     {"alice", command(`"rollout": "cart-1", "action": "abort", "actor": "alice"`), 403, "found \"cart-1\" Succeeded"},
		"a rollout that is not there":  {"alice", command(`"rollout": "cart-9", "action": "abort", "actor": "alice"`), 403, "found none called \"cart-9\""},
		"a step that asks for none":    {"alice", command(`"rollout": "cart-2", "action": "approve", "step": 1, "actor": "alice"`), 403, "which are 2, found 1"},
		"an unknown action":            {"alice", command(`"rollout": "cart-2", "action": "explode", "actor": "alice"`), 403, "TG-COMMAND-INVALID"},
		"a step is skipped":            {"alice", command(`"rollout": "cart-2", "action": "skip-step", "step": 3, "actor": "alice"`), 200, ""},
		"a step that there is not":     {"alice", command(`"rollout": "cart-2", "action": "skip-step", "step": 4, "actor": "alice"`), 403, "which has 3, found 4"},
		"skip-step is not pause":       {"pat", command(`"rollout": "cart-2", "action": "skip-step", "step": 2, "actor": "pat"`), 403, `the verb "skip-step"`},
		"promote is not pause":         {"pat", command(`"rollout": "cart-2", "action": "promote", "reason": "hurry", "actor": "pat"`), 403, `the verb "promote"`},
		"retry is not pause":           {"pat", command(`"rollout": "cart-3", "action": "retry", "actor": "pat"`), 403, `the verb "retry"`},
		"roll-back is not pause":       {"pat", command(`"rollout": "cart-1", "action": "roll-back", "actor": "pat"`), 403, `the verb "roll-back"`},
		"a promotion with its reason":  {"alice", command(`"rollout": "cart-2", "action": "promote", "reason": "hurry", "actor": "alice"`), 200, ""},
		"a reason that is asked for and not given": {
			"alice", command(`"rollout": "cart-2", "action": "promote", "reason": "  ", "actor": "alice"`), 403, `TG-COMMAND-REASON: spec.reason: wanted the reason for promote`,
		},
		"what was aborted is tried again":      {"alice", command(`"rollout": "cart-3", "action": "retry", "actor": "alice"`), 200, ""},
		"what is under way is not tried again": {"alice", command(`"rollout": "cart-2", "action": "retry", "actor": "alice"`), 403, `wanted a Rollout that is Aborted, to retry, found "cart-2" Progressing`},
		"what renders to something else now is not brought back": {
			"alice", command(`"rollout": "cart-4", "action": "roll-back", "actor": "alice"`), 403, "wanted inputs that render to sha256:web",
		},
		"what was made by a template revision that is gone is not tried again": {
			"alice", command(`"rollout": "cart-5", "action": "retry", "actor": "alice"`), 403, `wanted TemplateRevision "gone-1", which Rollout "cart-5" pins, found that it is gone`,
		},
		"what has succeeded is brought back": {"alice", command(`"rollout": "cart-1", "action": "roll-back", "actor": "alice"`), 200, ""},
		"what was aborted never served":      {"alice", command(`"rollout": "cart-3", "action": "roll-back", "actor": "alice"`), 403, `wanted a Rollout that is Succeeded, to roll-back, found "cart-3" Aborted`},
		"what has ended is not promoted":     {"alice", command(`"rollout": "cart-1", "action": "promote", "reason": "x", "actor": "alice"`), 403, "wanted a Rollout that has not ended"},
		"nor is a step of it skipped":        {"alice", command(`"rollout": "cart-3", "action": "skip-step", "step": 1, "actor": "alice"`), 403, "wanted a Rollout that has not ended"},
		"a label about another rollout": {
			"alice", `{"metadata": {"labels": {"tidegate.io/rollout": "cart-1"}}, ` + command(`"rollout": "cart-2", "action": "abort", "actor": "alice"`)[1:], 403, "metadata.labels",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Tidegate.Handle(t.Context(), request{
				op: admissionv1.Create, resource: group + "rolloutcommands", namespace: "shop", name: "x", user: tc.user, object: tc.object,
			}.admission())
			check(t, r, tc.code, tc.want)
		})
	}
}

func TestPlatformKinds(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	for name, tc := range map[string]struct {
		resource, object string
		code             int32
		want             []string
	}{
		"a policy that compiles":       {"deploypolicies", `{"spec": {"rego": "package p\ndeny contains \"x\" if true"}}`, 200, nil},
		"a policy that does not":       {"deploypolicies", `{"spec": {"rego": "package p\ndeny contains"}}`, 403, []string{"TG-POLICY-INVALID", "2:"}},
		"a policy that asks the world": {"deploypolicies", `{"spec": {"rego": "package p\ndeny contains \"x\" if http.send({})"}}`, 403, []string{"no policy may call"}},

		"a gate":                            {"gates", `{"spec": {"namespaces": {"names": ["shop"], "patterns": ["team-*"]}, "writers": ["system:kwok-controller"]}}`, 200, nil},
		"a gate over kube-system":           {"gates", `{"spec": {"namespaces": {"names": ["kube-system"]}}}`, 403, []string{"TG-GATE-SPEC", "names[0]"}},
		"a gate over the manager":           {"gates", `{"spec": {"namespaces": {"names": ["tidegate-system"]}}}`, 403, []string{"tidegate-system"}},
		"a gate over kube-*":                {"gates", `{"spec": {"namespaces": {"patterns": ["kube-*"]}}}`, 403, []string{"patterns[0]"}},
		"a pattern of nothing but stars":    {"gates", `{"spec": {"namespaces": {"patterns": ["**"]}}}`, 403, []string{"patterns[0]"}},
		"a pattern with a quote":            {"gates", `{"spec": {"namespaces": {"patterns": ["a\"b*"]}}}`, 403, []string{"patterns[0]"}},
		"an operator that is none":          {"gates", `{"spec": {"namespaces": {"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}}}`, 403, []string{"selector"}},
		"a selector of everything":          {"gates", `{"spec": {"namespaces": {"selector": {}}}}`, 403, []string{"every namespace"}},
		"a gate over leases":                {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "kinds": [{"group": "coordination.k8s.io", "resources": ["leases"]}]}}`, 403, []string{"kinds[0].resources[0]"}},
		"a gate over ingresses":             {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "kinds": [{"group": "networking.k8s.io", "resources": ["ingresses"]}]}}`, 200, nil},
		"a group among the writers":         {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "writers": ["system:masters"]}}`, 403, []string{"spec.writers[0]", "that is a group"}},
		"service accounts of a namespace":   {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "allow": {"exec": ["system:serviceaccounts:ops"]}}}`, 403, []string{"spec.allow.exec[0]"}},
		"a group among the gateways":        {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "allow": {"gateways": ["system:authenticated"]}}}`, 403, []string{"spec.allow.gateways[0]", "that is a group"}},
		"a group among who may be exempted": {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "breakGlass": {"users": ["dora", "system:masters"]}}}`, 403, []string{"spec.breakGlass.users[1]", "that is a group"}},
		"an exemption for everybody":        {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "breakGlass": {"groups": ["sre", "system:authenticated"]}}}`, 403, []string{"spec.breakGlass.groups[1]", "everybody is in it"}},
		"a wildcard among groups":           {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "breakGlass": {"groups": ["sre-*"]}}}`, 403, []string{"spec.breakGlass.groups[0]", "list each group"}},
		"an exemption for who is on call":   {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "breakGlass": {"users": ["dora"], "groups": ["sre"]}}}`, 200, nil},
		"a wildcard among the autoscalers":  {"gates", `{"spec": {"namespaces": {"names": ["a"]}, "allow": {"autoscalers": ["*"]}}}`, 403, []string{"spec.allow.autoscalers[0]"}},
		"several mistakes are told at once": {"gates", `{"spec": {"namespaces": {"names": ["kube-a"], "patterns": ["*"]}}}`, 403, []string{"names[0]", "patterns[0]"}},

		"a source":                       {"metricsources", `{"spec": {"prometheus": {"address": "http://prometheus:9090/sub"}}}`, 200, nil},
		"a source without a scheme":      {"metricsources", `{"spec": {"prometheus": {"address": "prometheus:9090"}}}`, 403, []string{"TG-SOURCE-INVALID"}},
		"a source without a host":        {"metricsources", `{"spec": {"prometheus": {"address": "http://:9090"}}}`, 403, []string{"address"}},
		"credentials are not repeated":   {"metricsources", `{"spec": {"prometheus": {"address": "http://u:secret@p"}}}`, 403, []string{"secretName"}},
		"a source with a query":          {"metricsources", `{"spec": {"prometheus": {"address": "http://p/?a=b"}}}`, 403, []string{"without ?"}},
		"a bundle that is no PEM":        {"metricsources", `{"spec": {"prometheus": {"address": "https://p", "caBundle": "bm90IHBlbQ=="}}}`, 403, []string{"caBundle"}},
		"a time-out that is too long":    {"metricsources", `{"spec": {"prometheus": {"address": "https://p", "timeout": "2h"}}}`, 403, []string{"timeout"}},
		"a duration that is none at all": {"metricsources", `{"spec": {"prometheus": {"address": "https://p", "timeout": "soon"}}}`, 403, []string{"TG-REQUEST-MALFORMED"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Tidegate.Handle(t.Context(), request{op: admissionv1.Create, resource: group + tc.resource, name: "x", user: "alice", object: tc.object}.admission())
			check(t, r, tc.code, tc.want...)
			if strings.Contains(r.Result.Message, "secret@") {
				t.Error("a password is repeated")
			}
		})
	}
	t.Run("deleting a gate says what it lets loose", func(t *testing.T) {
		r := f.Tidegate.Handle(t.Context(), request{
			op: admissionv1.Delete, resource: group + "gates", user: "alice", old: `{"metadata": {"name": "production"}, "status": {"namespaces": ["a", "b"]}}`,
		}.admission())
		check(t, r, 200)
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "2 namespaces") {
			t.Errorf("warnings: %v", r.Warnings)
		}
	})
}

func TestAGateThatExemptsNobodySaysSo(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	ask := func(rule string) []string {
		r := request{op: admissionv1.Create, resource: "tidegate.io/gates", name: "x", user: "alice", object: `{"metadata": {"name": "x"}, "spec": {"namespaces": {"names": ["a"]}` + rule + `}}`}
		a := f.Tidegate.Handle(t.Context(), r.admission())
		check(t, a, 200)
		return a.Warnings
	}
	if w := ask(`, "breakGlass": {"maxDuration": "1h"}`); len(w) != 1 || !strings.Contains(w[0], "nobody can be exempted") {
		t.Errorf("a rule that lists nobody: wanted a warning, found %q", w)
	}
	for _, rule := range []string{"", `, "breakGlass": {"users": ["dora"]}`, `, "breakGlass": {"groups": ["sre"]}`} {
		if w := ask(rule); len(w) != 0 {
			t.Errorf("%s: wanted no warning, found %q", rule, w)
		}
	}
}
