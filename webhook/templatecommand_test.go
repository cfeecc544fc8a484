package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// staged is a template whose sync is under way from staged-1 to staged-2, with a third
// revision that two channels name.
func staged(phase v1alpha1.SyncPhase) []client.Object {
	out := []client.Object{&v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "staged"},
		Spec: v1alpha1.ReleaseTemplateSpec{
			Sync:     v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged, Waves: []v1alpha1.SyncWave{{Name: "one", Percent: 10}}},
			Channels: []v1alpha1.TemplateChannel{{Name: "candidate", Revision: 3}, {Name: "stable", Revision: 2}, {Name: "gone", Revision: 9}},
		},
		Status: v1alpha1.ReleaseTemplateStatus{
			LatestRevision: "staged-3",
			Sync:           &v1alpha1.TemplateSyncStatus{Target: "staged-2", From: "staged-1", Phase: phase, Wave: 1},
		},
	}}
	for n := int64(1); n <= 3; n++ {
		out = append(out, &v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("staged-%d", n)},
			Spec: v1alpha1.TemplateRevisionSpec{
				Template: "staged", Number: n, Digest: "sha256:" + strings.Repeat(fmt.Sprint(n), 64), Files: map[string]string{"web.cue": fmt.Sprintf("package staged%d", n)},
			},
		})
	}
	return out
}

func TestTemplateCommand(t *testing.T) {
	command := func(fields string) string { return `{"spec": {` + fields + `}}` }
	for name, tc := range map[string]struct {
		phase        v1alpha1.SyncPhase
		user, object string
		code         int32
		want         []string
	}{
		"a pause":                {v1alpha1.SyncSyncing, "alice", command(`"template": "staged", "action": "pause", "actor": "alice"`), 200, nil},
		"a pause while it soaks": {v1alpha1.SyncSoaking, "alice", command(`"template": "staged", "action": "pause", "actor": "alice"`), 200, nil},
		"a pause of what is halted": {
			v1alpha1.SyncHalted, "alice", command(`"template": "staged", "action": "pause", "actor": "alice"`), 200, nil,
		},
		"a second pause": {
			v1alpha1.SyncPaused, "alice", command(`"template": "staged", "action": "pause", "actor": "alice"`), 403,
			[]string{"TG-COMMAND-INVALID: wanted a sync to pause, found that it is paused already; do: tidegate template status staged"},
		},
		"a pause of what has ended, for the next revision": {
			v1alpha1.SyncSynced, "alice", command(`"template": "staged", "action": "pause", "actor": "alice"`), 200, nil,
		},
		"a resume of what is halted":        {v1alpha1.SyncHalted, "alice", command(`"template": "staged", "action": "resume", "actor": "alice"`), 200, nil},
		"a resume of what is paused":        {v1alpha1.SyncPaused, "alice", command(`"template": "staged", "action": "resume", "actor": "alice"`), 200, nil},
		"a resume of what may wait for one": {v1alpha1.SyncSyncing, "alice", command(`"template": "staged", "action": "resume", "actor": "alice"`), 200, nil},
		"a resume of what soaks": {
			v1alpha1.SyncSoaking, "alice", command(`"template": "staged", "action": "resume", "actor": "alice"`), 403, []string{"neither paused nor halted, but Soaking"},
		},
		"a resume of what has ended": {
			v1alpha1.SyncSynced, "alice", command(`"template": "staged", "action": "resume", "actor": "alice"`), 403, []string{"neither paused nor halted, but Synced"},
		},
		"a rollback":                   {v1alpha1.SyncHalted, "alice", command(`"template": "staged", "action": "rollback", "revision": 1, "actor": "alice"`), 200, nil},
		"a rollback of what has ended": {v1alpha1.SyncSynced, "alice", command(`"template": "staged", "action": "rollback", "revision": 1, "actor": "alice"`), 200, nil},
		"a rollback to the target": {
			v1alpha1.SyncSynced, "alice", command(`"template": "staged", "action": "rollback", "revision": 2, "actor": "alice"`), 403, []string{"spec.revision", "found 2, which is it"},
		},
		"a rollback to a revision that is not there": {
			v1alpha1.SyncHalted, "alice", command(`"template": "staged", "action": "rollback", "revision": 7, "actor": "alice"`), 403,
			[]string{`spec.revision: wanted a revision of template "staged", one of 1, 2, 3, found 7; do: tidegate get templaterevisions`},
		},
		"a rollback to another template's": {
			v1alpha1.SyncHalted, "alice", command(`"template": "staged", "action": "rollback", "revision": 10, "actor": "alice"`), 403, []string{"one of 1, 2, 3, found 10"},
		},
		"a template that is not there": {
			v1alpha1.SyncHalted, "alice", command(`"template": "stagde", "action": "pause", "actor": "alice"`), 403,
			[]string{`spec.template: wanted the name of a ReleaseTemplate, found "stagde", which does not exist; there are fresh, staged, web; did you mean "staged"?; do: tidegate get templates`},
		},
		"a template without a revision": {
			v1alpha1.SyncHalted, "alice", command(`"template": "fresh", "action": "pause", "actor": "alice"`), 403, []string{`found that "fresh" has none, so there is nothing to pause`},
		},
		"an action that does not exist": {
			v1alpha1.SyncHalted, "alice", command(`"template": "staged", "action": "approve", "actor": "alice"`), 403, []string{`wanted pause, resume or rollback, found "approve"`},
		},
		"an actor that is claimed":     {v1alpha1.SyncSyncing, "alice", command(`"template": "staged", "action": "pause", "actor": "bob"`), 403, []string{"TG-COMMAND-ACTOR"}},
		"an actor that is not stamped": {v1alpha1.SyncSyncing, "alice", command(`"template": "staged", "action": "pause"`), 403, []string{"TG-COMMAND-ACTOR"}},
		"a user without the verb": {
			v1alpha1.SyncSyncing, "mallory", command(`"template": "staged", "action": "pause", "actor": "mallory"`), 403,
			[]string{`TG-COMMAND-FORBIDDEN: wanted a user with the verb "sync" on releasetemplates.tidegate.io, found "mallory"; do: ask for a ClusterRole with it; it is checked by: kubectl auth can-i sync releasetemplates.tidegate.io/staged`},
		},
		"the verb is that of one template": {v1alpha1.SyncSyncing, "pat", command(`"template": "staged", "action": "pause", "actor": "pat"`), 403, []string{"TG-COMMAND-FORBIDDEN"}},
		"sync is not rollback":             {v1alpha1.SyncSyncing, "pat", command(`"template": "web", "action": "rollback", "revision": 1, "actor": "pat"`), 403, []string{`the verb "rollback"`}},
		"sync pauses":                      {v1alpha1.SyncSyncing, "pat", command(`"template": "web", "action": "pause", "actor": "pat"`), 403, []string{`"web" has none`}},
		"rbac that cannot be asked":        {v1alpha1.SyncSyncing, "eve", command(`"template": "staged", "action": "pause", "actor": "eve"`), 500, []string{"no answer"}},
		"a label that says otherwise": {
			v1alpha1.SyncSyncing, "alice", `{"metadata": {"labels": {"tidegate.io/template": "web"}}, "spec": {"template": "staged", "action": "pause", "actor": "alice"}}`, 403, []string{"leave the label out"},
		},
		"no object": {v1alpha1.SyncSyncing, "alice", "", 403, []string{"TG-REQUEST-MALFORMED"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{}, staged(tc.phase)...)
			r := f.Tidegate.Handle(t.Context(), request{op: admissionv1.Create, resource: group + "templatecommands", user: tc.user, object: tc.object}.admission())
			check(t, r, tc.code, tc.want...)
			if tc.object != "" && tc.code == 403 && (r.AuditAnnotations["template"] == "" || r.AuditAnnotations["action"] == "" || !strings.Contains(r.Result.Message, "do: ")) {
				t.Errorf("wanted facts for the audit log and what to do: %v, %s", r.AuditAnnotations, r.Result.Message)
			}
		})
	}
	for name, tc := range map[string]struct {
		op   admissionv1.Operation
		sub  string
		user string
		code int32
	}{
		"it is not edited":                  {admissionv1.Update, "", "alice", 403},
		"nor deleted, being the record":     {admissionv1.Delete, "", "alice", 403},
		"nor answered by hand":              {admissionv1.Update, "/status", "alice", 403},
		"the manager answers it":            {admissionv1.Update, "/status", manager, 200},
		"the garbage collector deletes one": {admissionv1.Delete, "", gc, 200},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{})
			r := f.Tidegate.Handle(t.Context(), request{op: tc.op, resource: group + "templatecommands" + tc.sub, name: "x", user: tc.user, object: `{}`, old: `{}`}.admission())
			check(t, r, tc.code)
		})
	}
	t.Run("a template that cannot be read is no verdict", func(t *testing.T) {
		f := newFixture(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("the cache is broken")
		}})
		r := f.Tidegate.Handle(t.Context(), request{
			op: admissionv1.Create, resource: group + "templatecommands", user: "alice", object: command(`"template": "staged", "action": "pause", "actor": "alice"`),
		}.admission())
		check(t, r, 500, "the cache is broken")
	})
	t.Run("revisions that cannot be read are no verdict", func(t *testing.T) {
		f := newFixture(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("the cache is broken")
		}}, staged(v1alpha1.SyncSyncing)...)
		r := f.Tidegate.Handle(t.Context(), request{
			op: admissionv1.Create, resource: group + "templatecommands", user: "alice", object: command(`"template": "staged", "action": "rollback", "revision": 1, "actor": "alice"`),
		}.admission())
		check(t, r, 500, "the cache is broken")
	})
}

// What a Release is judged with is what the controllers choose: by pin, by channel, by what
// the sync assigned, and otherwise by where the sync stands.
func TestReleaseIsJudgedWithTheRevisionItFollows(t *testing.T) {
	digest := func(n string) string { return "sha256:" + strings.Repeat(n, 64) }
	assigned := `"status": {"assigned": {"name": "staged-2", "generation": 4}, "observedGeneration": 4, "templateRevision": "staged-2"}`
	for name, tc := range map[string]struct {
		template string
		status   string
		phase    v1alpha1.SyncPhase
		want     string // the revision, or a part of the message
		denied   bool
	}{
		"a new one before its wave has what the sync left behind": {`{"name": "staged"}`, "", v1alpha1.SyncSyncing, "staged-1", false},
		"a new one after the last wave has the target":            {`{"name": "staged"}`, "", v1alpha1.SyncSynced, "staged-2", false},
		"one that the sync has got to has the target":             {`{"name": "staged"}`, assigned, v1alpha1.SyncSyncing, "staged-2", false},
		"a pin":                       {`{"name": "staged", "revision": 3}`, assigned, v1alpha1.SyncSyncing, "staged-3", false},
		"a digest":                    {`{"name": "staged", "digest": "` + digest("3") + `"}`, "", v1alpha1.SyncSyncing, "staged-3", false},
		"a channel":                   {`{"name": "staged", "channel": "candidate"}`, "", v1alpha1.SyncSyncing, "staged-3", false},
		"a digest that is not there":  {`{"name": "staged", "digest": "` + digest("8") + `"}`, "", v1alpha1.SyncSyncing, "spec.template.digest", true},
		"a pin with another's digest": {`{"name": "staged", "revision": 3, "digest": "` + digest("2") + `"}`, "", v1alpha1.SyncSyncing, "found digest " + digest("3"), true},
		"a channel that is not there": {`{"name": "staged", "channel": "stabel"}`, "", v1alpha1.SyncSyncing, `found "stabel"; set it to one of these or remove it; did you mean "stable"?`, true},
		"a channel of a revision that is not there": {`{"name": "staged", "channel": "gone"}`, "", v1alpha1.SyncSyncing, "revision 9", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, interceptor.Funcs{}, staged(tc.phase)...)
			object := func(status, values string) string {
				if status != "" {
					status = ", " + status
				}
				return `{"metadata": {"name": "cart", "namespace": "shop", "generation": 4}, "spec": {"template": ` + tc.template + `, "values": ` + values + `}` + status + `}`
			}
			r := request{op: admissionv1.Create, resource: group + "releases", namespace: "shop", name: "cart", user: "alice", object: object("", `{"image": "a"}`)}
			if tc.status != "" {
				// Who writes the spec cannot claim what the sync assigned.
				r.op, r.old = admissionv1.Update, object(tc.status, `{"image": "b"}`)
				r.object = object(strings.ReplaceAll(tc.status, "staged-2", "staged-1"), `{"image": "a"}`)
			}
			got := f.Tidegate.Handle(t.Context(), r.admission())
			if tc.denied {
				check(t, got, 403, "TG-TEMPLATE-NOTFOUND", tc.want)
				return
			}
			check(t, got, 200)
			if used := got.AuditAnnotations["templateRevision"]; used != tc.want {
				t.Errorf("judged with %s, wanted %s", used, tc.want)
			}
		})
	}
}

func TestPoliciesSeeWhatAReleaseFollows(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{}, staged(v1alpha1.SyncSynced)...)
	pins, err := library.Source("template-pins", []byte(`{"channels": ["stable"], "rules": [{"releases": ["shop/test"], "allowPins": true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []eval.Source{
		pins,
		{Name: "seen", At: []v1alpha1.PolicyMoment{v1alpha1.AtRelease}, Rego: `package p
warn contains json.marshal({"template": input.template, "namespace": input.namespace, "release": input.release}) if true`},
	} {
		if err := f.policies.Put(source); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		template, name string
		code           int32
		want           string
	}{
		"following passes": {
			`{"name": "staged"}`, "cart", 200,
			`{"namespace":{"name":"shop"},"release":{"labels":{"tier":"web"},"name":"cart","namespace":"shop","template":"staged"},"template":{"digest":"sha256:` + strings.Repeat("2", 64) + `","name":"staged","number":2,"revision":"staged-2"}}`,
		},
		"a channel that is listed":    {`{"name": "staged", "channel": "stable"}`, "cart", 200, `"channel":"stable"`},
		"a channel that is not":       {`{"name": "staged", "channel": "candidate"}`, "cart", 403, `TG-TEMPLATE-PIN: spec.template.channel: wanted one of the channels stable, or none, found "candidate"; do: change or leave out spec.template.channel; to have another channel allowed, ask the platform team (policy template-pins)`},
		"a pin":                       {`{"name": "staged", "revision": 1}`, "cart", 403, "found one that pins revision 1;"},
		"a pin that a rule lets pass": {`{"name": "staged", "revision": 1}`, "test", 200, `"pin":{"revision":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Tidegate.Handle(t.Context(), request{
				op: admissionv1.Create, resource: group + "releases", namespace: "shop", name: "cart", user: "alice",
				object: `{"metadata": {"name": "` + tc.name + `", "namespace": "shop", "labels": {"tier": "web"}}, "spec": {"template": ` + tc.template + `, "values": {"image": "a"}}}`,
			}.admission())
			check(t, r, tc.code)
			said := strings.Join(r.Warnings, "\n")
			if tc.code == 403 {
				said = r.Result.Message
			}
			if !strings.Contains(said, tc.want) {
				t.Errorf("wanted %s in:\n%s", tc.want, said)
			}
		})
	}
	t.Run("a namespace that cannot be read is no verdict", func(t *testing.T) {
		f := newFixture(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if key.Name == "shop" {
				return errors.New("the cache is broken")
			}
			return c.Get(ctx, key, obj, opts...)
		}})
		r := f.Tidegate.Handle(t.Context(), request{
			op: admissionv1.Create, resource: group + "releases", namespace: "shop", name: "cart", user: "alice", object: release(`{"image": "a"}`),
		}.admission())
		check(t, r, 500, "the cache is broken")
	})
}
