package webhook_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// withSpec is a manifest of the template web with more in its spec.
func withSpec(source, more string) string {
	return strings.Replace(template(source), `"spec":{`, `"spec":{`+more+`,`, 1)
}

func TestPublishRefusesWhatBreaksTeams(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	const counts = "of 2 releases of template web: 1 unchanged, 0 change in place, 1 roll, 0 would break and keep what they have; 1 more pin a revision or follow a channel, and stay where they are"
	for name, tc := range map[string]struct {
		object, old string
		code        int32
		want        []string
		// warnings are wanted in this order; the counts are the last.
		warnings []string
	}{
		"a safe change": {object: template("package web safe"), code: 200, warnings: []string{counts}},
		"a breaking change is refused, with the field that allows it": {
			object: template("package web safe breaking unknown"), code: 403,
			want: []string{
				"TG-TEMPLATE-BREAKING: ReleaseTemplate \"web\": wanted variables that accept what those of web-10 do, found: values.v1: something changed: because\n",
				"do: make the change in a way that breaks nobody",
				"spec.allowBreakingAfter: 10",
			},
			warnings: []string{"unknown: values.v2: something changed: because"},
		},
		"a breaking change that is declared": {
			object: withSpec("package web breaking", `"allowBreakingAfter": 10`), code: 200,
			warnings: []string{"breaking, as declared: values.v0: something changed: because", counts},
		},
		"a declaration for an earlier revision does not count": {
			object: withSpec("package web breaking", `"allowBreakingAfter": 2`), code: 403, want: []string{"TG-TEMPLATE-BREAKING", "allowBreakingAfter: 10"},
		},
		"a declaration for a later revision does not count": {
			object: withSpec("package web breaking", `"allowBreakingAfter": 11`), code: 403, want: []string{"TG-TEMPLATE-BREAKING"},
		},
		"of many breaking changes ten are listed": {
			object: template("package web" + strings.Repeat(" breaking", 13)), code: 403,
			want: []string{"values.v9: ", "and 3 more changes are breaking"},
		},
		"what is not certain is a warning": {
			object: template("package web unknown default-changed"), code: 200,
			warnings: []string{"unknown: values.v0: something changed: because", "default-changed: values.v1: something changed: because", counts},
		},
		"a revision that cannot be compared is a warning": {
			object: template("package web incomparable"), code: 200,
			warnings: []string{"whether web is a compatible successor of web-10 is not known: compiling the template as it was: web.cue:1:1: it no longer compiles", counts},
		},
		"a comparison that fails is no verdict": {object: template("package web comparison fails"), code: 500, want: []string{"TG-WEBHOOK-ERROR", "out of order"}},
		"what vet finds is refused, warnings and all": {
			object: template("package web safe warning error advice error"), code: 403,
			want: []string{
				"TG-TEMPLATE-BROKEN: ReleaseTemplate \"web\": wanted source without mistakes that only show later, found:\n" +
					"  web.cue:2:1: error: something is wrong (a-code)\n  web.cue:4:1: error: something is wrong (a-code)\ndo: correct them; tidegate template vet DIR",
			},
			warnings: []string{"web.cue:1:1: warning: something is wrong (a-code)"},
		},
		"what vet warns of is shown, and its advice is not": {
			object: template("package web warning advice unknown"), code: 200,
			warnings: []string{"unknown: values.v0: something changed: because", "web.cue:1:1: warning: something is wrong (a-code)", counts},
		},
		"of many mistakes ten are listed": {
			object: template("package web" + strings.Repeat(" error", 13)), code: 403, want: []string{"web.cue:10:1: ", "and 3 more mistakes"},
		},
		"what cannot be vetted is published": {
			object: template("package web unvetted"), code: 200,
			warnings: []string{"template web was not vetted: template source x: wanted it to be rendered within 256 MiB of memory, found that more was needed; do: tidegate template vet DIR", counts},
		},
		"an edit of something else is not vetted":   {object: withSpec("error", `"revisionHistoryLimit": 3`), old: template("error"), code: 200},
		"the first revision breaks nobody":          {object: strings.Replace(template("package web breaking"), `"name":"web"`, `"name":"first"`, 1), code: 200},
		"an edit of something else is not compared": {object: withSpec("breaking", `"revisionHistoryLimit": 3`), old: template("breaking"), code: 200},

		"a channel that names a revision":                            {object: withSpec("package web", `"channels": [{"name": "stable", "revision": 2}]`), old: template("package web"), code: 200},
		"a channel that names none":                                  {object: withSpec("package web", `"channels": [{"name": "ok", "revision": 1}, {"name": "stable", "revision": 7}]`), old: template("package web"), code: 403, want: []string{"TG-TEMPLATE-CHANNEL", "spec.channels[1] stable: wanted the number of a revision, one of 10, 2, 1, found 7", "do: "}},
		"a channel of a template without revisions":                  {object: strings.Replace(withSpec("x", `"channels": [{"name": "stable", "revision": 1}]`), `"name":"web"`, `"name":"first"`, 1), code: 403, want: []string{"there is none yet"}},
		"a channel that was wrong already does not stand in the way": {object: withSpec("package web safe", `"channels": [{"name": "stable", "revision": 7}]`), old: withSpec("package web", `"channels": [{"name": "stable", "revision": 7}]`), code: 200, warnings: []string{counts}},
	} {
		t.Run(name, func(t *testing.T) {
			r := request{op: admissionv1.Create, resource: group + "releasetemplates", user: "alice", object: tc.object, old: tc.old, dryRun: true}
			if tc.old != "" {
				r.op = admissionv1.Update
			}
			got := f.Tidegate.Handle(t.Context(), r.admission())
			check(t, got, tc.code, tc.want...)
			if a, b := strings.Join(got.Warnings, "\n"), strings.Join(tc.warnings, "\n"); a != b {
				t.Errorf("warnings:\n%s\nwanted:\n%s", a, b)
			}
		})
	}
}

// crowd are n Releases of the template mall.
func crowd(n int, values func(i int) string) []client.Object {
	var out []client.Object
	for i := range n {
		out = append(out, &v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Namespace: "mall", Name: fmt.Sprintf("s%02d", i)},
			Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "mall"}, Values: &runtime.RawExtension{Raw: []byte(values(i))}},
		})
	}
	return out
}

func publishMall(t *testing.T, f fixture, source string) []string {
	t.Helper()
	got := f.Tidegate.Handle(t.Context(), request{
		op: admissionv1.Create, resource: group + "releasetemplates", user: "alice",
		object: strings.Replace(template(source), `"name":"web"`, `"name":"mall"`, 1),
	}.admission())
	check(t, got, 200)
	return got.Warnings
}

func TestPublishSaysWhatPoliciesWouldRefuse(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{}, crowd(2, func(i int) string { return fmt.Sprintf(`{"image": "r%d/x"}`, i) })...)
	if err := f.policies.Put(eval.Source{Name: "registries", At: []v1alpha1.PolicyMoment{v1alpha1.AtRelease}, Rego: `package p
deny contains msg if {
	some c in input.object.spec.template.spec.containers
	c.image == "r1/x"
	input.release.name == "s01"
	input.template.name == "mall"
	msg := "wanted another registry"
}`}); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(publishMall(t, f, "package mall"), "\n")
	want := "of 2 releases of template mall: 0 unchanged, 0 change in place, 2 roll, 0 would break and keep what they have\n" +
		"a policy would refuse: mall/s01: TG-POLICY-DENY: wanted another registry (policy registries)"
	if got != want {
		t.Errorf("warnings:\n%s\nwanted:\n%s", got, want)
	}
}

func TestPublishNamesTheFirstThatWouldBreak(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{}, crowd(14, func(int) string { return `{}` })...)
	got := publishMall(t, f, "package mall")
	if len(got) != 12 || !strings.Contains(got[0], "14 would break") || !strings.HasPrefix(got[1], "would break: mall/s00: values.image: ") || got[11] != "and 4 more would break" {
		t.Errorf("warnings:\n%s", strings.Join(got, "\n"))
	}
}

// stuck renders the first seven and then nothing until the time is up.
type stuck struct{ renderer }

func (s stuck) Render(ctx context.Context, source webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	if c.Name < "s07" {
		return s.renderer.Render(ctx, source, values, c)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestPublishAnswersInTimeAndSaysHowFarItCame(t *testing.T) {
	objects := append(objects(), crowd(40, func(int) string { return `{"image": "a"}` })...)
	handlers, err := webhook.New(webhook.Config{
		Reader:   fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(objects...).Build(),
		Policies: eval.NewStore(), Renderer: stuck{}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(), Timeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := publishMall(t, fixture{Handlers: handlers}, "package mall")
	const want = "of 40 releases of template mall: 0 unchanged, 0 change in place, 7 roll, 0 would break and keep what they have; " +
		"33 were not looked at, since the time was up: tidegate template diff looks at all"
	if strings.Join(got, "\n") != want {
		t.Errorf("warnings:\n%s\nwanted:\n%s", strings.Join(got, "\n"), want)
	}
}

func TestPublishLeavesTimeForTheReleasesWhenVettingTakesLong(t *testing.T) {
	objects := append(objects(), crowd(3, func(int) string { return `{"image": "a"}` })...)
	handlers, err := webhook.New(webhook.Config{
		Reader:   fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(objects...).Build(),
		Policies: eval.NewStore(), Renderer: renderer{}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := publishMall(t, fixture{Handlers: handlers}, "package mall slow")
	const want = "template mall was not vetted: the time was up; do: tidegate template vet DIR\n" +
		"of 3 releases of template mall: 0 unchanged, 0 change in place, 3 roll, 0 would break and keep what they have"
	if strings.Join(got, "\n") != want {
		t.Errorf("warnings:\n%s\nwanted:\n%s", strings.Join(got, "\n"), want)
	}
}

func TestATemplateInUseIsNotDeletedAndItsUsersAreNamed(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{}, crowd(13, func(int) string { return `{}` })...)
	got := f.Tidegate.Handle(t.Context(), request{
		op: admissionv1.Delete, resource: group + "releasetemplates", user: "alice", old: strings.Replace(template("x"), `"name":"web"`, `"name":"mall"`, 1),
	}.admission())
	check(t, got, 403, "TG-TEMPLATE-INUSE", "found 13: mall/s00, mall/s01, ", "mall/s09, and 3 more; do: ")
}
