package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

const (
	// operator has the role tidegate-template-operate.
	operator = "olga"
	// clerk may create TemplateCommands and has neither verb.
	clerk = "carl"
	// flow is the template of this test.
	flow = "flow"
)

// TestPeopleAndTemplates plays what people do about templates, with everything real: the chart's
// roles and admission policies, a manager process and the CLI. The cases follow each other.
func TestPeopleAndTemplates(t *testing.T) {
	p := &people{play: onStage(t)}
	p.begin()
	p.Run("who may not decide is told so by the API server or by Tidegate", p.forbidden)
	p.Run("the actor is stamped, and a command never changes", p.stamped)
	p.Run("a sync is paused, resumed and rolled back", p.decided)
	p.Run("pins and channels are allowed by policy", p.pinned)
	p.Run("a freeze holds a rise, and lets an abort through", p.frozen)
	p.Run("a freeze holds a sync, and not a rollback", p.frozenSync)
}

type people struct{ *play }

// begin publishes two revisions of a template that is synced in two waves, the first of which
// soaks for longer than the test takes.
func (p *people) begin() {
	p.Helper()
	p.kubectl(stage.Admin, peopleManifest, "apply", "-f", "-")
	p.publish("one")
	p.awaitSync("the first revision", func(s *v1alpha1.TemplateSyncStatus) bool { return brief(s.Target) == flow+"-1" })
	p.release("pilot", "1.0.0", `{"name": "flow"}`)
	p.release("cart", "1.0.0", `{"name": "flow"}`)
	for _, name := range []string{"pilot", "cart"} {
		p.awaitRelease(name, func(r *v1alpha1.Release) bool {
			return r.Status.Phase == v1alpha1.ReleaseServing && brief(r.Status.TemplateRevision) == flow+"-1"
		})
	}
	p.publish("two")
	p.awaitSync("the first wave to soak", func(s *v1alpha1.TemplateSyncStatus) bool {
		return brief(s.Target) == flow+"-2" && s.Phase == v1alpha1.SyncSoaking
	})
}

func (p *people) forbidden(t *testing.T) {
	for name, tc := range map[string]struct {
		user string
		args []string
		want string
	}{
		"a team without the role":    {stage.Team, []string{"template", "sync", "pause", flow}, `cannot create resource "templatecommands"`},
		"a clerk without the verb":   {clerk, []string{"template", "sync", "pause", flow}, `TG-COMMAND-FORBIDDEN: wanted a user with the verb "sync" on releasetemplates.tidegate.io, found "carl"`},
		"a clerk who rolls back":     {clerk, []string{"template", "rollback", flow, "--to", "1", "--reason", "x"}, `the verb "rollback"`},
		"a template that is not":     {operator, []string{"template", "sync", "pause", "flwo"}, `there is no ReleaseTemplate "flwo"; did you mean flow?`},
		"a revision that is not":     {operator, []string{"template", "rollback", flow, "--to", "9", "--reason", "x"}, "one of 1, 2 (the target), found 9"},
		"a rollback to the target":   {operator, []string{"template", "rollback", flow, "--to", "2", "--reason", "x"}, "found 2, which is it"},
		"a resume of what goes on":   {operator, []string{"template", "sync", "resume", flow}, "neither paused nor halted, but Soaking"},
		"the approval of a rollout":  {operator, []string{"approve", "cart", "-n", stage.Namespace}, "cannot get resource"},
		"an edit of a revision":      {operator, []string{"template", "rollback", flow, "--to", "0", "--reason", "x"}, "wanted the number of a revision from 1 up"},
		"a command without a reason": {operator, []string{"template", "rollback", flow, "--to", "1"}, "wanted --reason, found none"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := p.Tidegate(t.Context(), tc.user, tc.args...)
			if err == nil || !strings.Contains(out, tc.want) {
				t.Errorf("wanted %q, found %v:\n%s", tc.want, err, out)
			}
		})
	}
	if out := p.kubectl(stage.Admin, "", "get", "templatecommands", "-o", "name"); out != "" {
		t.Errorf("wanted no command to be stored, found:\n%s", out)
	}
}

func (p *people) stamped(t *testing.T) {
	const command = `apiVersion: tidegate.io/v1alpha1
kind: TemplateCommand
metadata: {name: claimed}
spec: {template: flow, action: pause, actor: mallory, reason: looking into it}
`
	p.kubectl(operator, command, "create", "-f", "-")
	if actor := p.kubectl(stage.Admin, "", "get", "templatecommand", "claimed", "-o", "jsonpath={.spec.actor}"); actor != operator {
		t.Errorf("wanted the actor %s, found %q", operator, actor)
	}
	p.awaitSync("the pause", func(s *v1alpha1.TemplateSyncStatus) bool { return s.Phase == v1alpha1.SyncPaused })
	for what, args := range map[string][]string{
		"an edit":   {"patch", "templatecommand", "claimed", "--type=merge", "-p", `{"spec": {"reason": "another"}}`},
		"a label":   {"label", "templatecommand", "claimed", "a=b"},
		"a delete":  {"delete", "templatecommand", "claimed"},
		"an answer": {"patch", "templatecommand", "claimed", "--subresource=status", "--type=merge", "-p", `{"status": {"outcome": "Refused"}}`},
	} {
		out, err := p.Kubectl(t.Context(), stage.Admin, "", args...)
		if err == nil || !strings.Contains(out, "TG-KIND-READONLY") && !strings.Contains(out, "never changes") {
			t.Errorf("%s by an administrator: %v\n%s", what, err, out)
		}
	}
}

func (p *people) decided(t *testing.T) {
	say := func(want string, args ...string) {
		t.Helper()
		if out, err := p.Tidegate(t.Context(), operator, args...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("%v: %v\nwanted %q in:\n%s", args, err, want, out)
		}
	}
	say("Paused", "template", "status", flow)
	say("resume of the sync of flow: Applied", "template", "sync", "resume", flow, "--reason", "seen enough")
	p.awaitSync("the soak to go on", func(s *v1alpha1.TemplateSyncStatus) bool { return s.Phase == v1alpha1.SyncSoaking })
	if r := p.theRelease("cart"); brief(r.Status.TemplateRevision) != flow+"-1" {
		t.Errorf("cart, of the wave that has not begun, is on %s", r.Status.TemplateRevision)
	}
	say("rollback of flow to 1: Applied", "template", "rollback", flow, "--to", "1", "--reason", "two is worse")
	p.awaitSync("the rollback", func(s *v1alpha1.TemplateSyncStatus) bool {
		return s.Phase == v1alpha1.SyncSynced && brief(s.Target) == flow+"-1" && brief(s.RolledBackFrom) == flow+"-2"
	})
	p.awaitRelease("pilot", func(r *v1alpha1.Release) bool {
		return r.Status.Phase == v1alpha1.ReleaseServing && brief(r.Status.TemplateRevision) == flow+"-1"
	})
	say("rollback to 1 by olga", "template", "status", flow)
	out := p.kubectl(stage.Admin, "", "get", "templatecommands", "-o", `jsonpath={range .items[*]}{.spec.action} {.spec.actor} {.status.outcome}{"\n"}{end}`)
	for _, want := range []string{"pause olga Applied", "resume olga Applied", "rollback olga Applied"} {
		if !strings.Contains(out, want) {
			t.Errorf("wanted the trail to say %q, found:\n%s", want, out)
		}
	}
}

var channels = []v1alpha1.TemplateChannel{{Name: "stable", Revision: 2}, {Name: "edge", Revision: 2}}

// Shipped policies.
const (
	templatePins  = "template-pins"
	freezeWindows = "freeze-windows"
)

// regoOf is the Rego of a shipped policy.
func regoOf(t *testing.T, name string) string {
	t.Helper()
	p, err := library.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return p.Spec.Rego
}

func (p *people) pinned(t *testing.T) {
	p.publish("two", channels...)
	p.policy(t, templatePins, regoOf(t, templatePins), "release", `{"channels": ["stable"]}`)
	refused := func(template, want string) {
		t.Helper()
		out, err := p.Kubectl(t.Context(), stage.Team, releaseManifest("other", "1.0.0", template), "apply", "-f", "-")
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", template, err, out)
		}
	}
	refused(`{"name": "flow", "revision": 2}`, "TG-TEMPLATE-PIN: spec.template: wanted a Release that follows its template, found one that pins revision 2")
	refused(`{"name": "flow", "channel": "edge"}`, `TG-TEMPLATE-PIN: spec.template.channel: wanted one of the channels stable, or none, found "edge"`)
	refused(`{"name": "flow", "channel": "stabel"}`, `did you mean "stable"?`)
	p.release("other", "1.0.0", `{"name": "flow", "channel": "stable"}`)
	p.awaitRelease("other", func(r *v1alpha1.Release) bool {
		return r.Status.Phase == v1alpha1.ReleaseServing && brief(r.Status.TemplateRevision) == flow+"-2"
	})
}

// forEver is a freeze that the test cannot outlive.
const forEver = `{"windows": [{"name": "for ever", "from": "2020-01-01T00:00:00Z", "to": "2199-01-01T00:00:00Z"}]}`

func (p *people) frozen(t *testing.T) {
	p.policy(t, freezeWindows, regoOf(t, freezeWindows), "promotion", forEver)
	before := p.theRelease("cart").Status
	p.release("cart", "1.1.0", `{"name": "flow"}`)
	held := func(r *v1alpha1.Release) bool {
		return r.Status.Rollout != before.Rollout && strings.Contains(r.Status.Message, "TG-FREEZE-WINDOW: Release shop/cart to ")
	}
	p.awaitRelease("cart", held)
	p.pass(5 * time.Second)
	r := p.theRelease("cart")
	ro := p.rollout(r.Status.Rollout)
	if !held(r) || ro.Status.Weight != 0 || ro.Status.ApprovedWeight != 0 || ro.Status.Reason != "TG-HOLD-POLICY" {
		t.Errorf("wanted it to be held at 0 %%, found %s at %d %%: %s", ro.Status.Reason, ro.Status.Weight, ro.Status.Message)
	}
	if !strings.Contains(ro.Status.Message, "2199-01-01T00:00:00Z") {
		t.Errorf("wanted the next opening in: %s", ro.Status.Message)
	}
	if out, err := p.Tidegate(t.Context(), stage.Team, "abort", "cart", "-n", stage.Namespace, "--reason", "not this year"); err != nil {
		t.Fatalf("abort: %v\n%s", err, out)
	}
	r = p.awaitRelease("cart", func(r *v1alpha1.Release) bool { return r.Status.Phase == v1alpha1.ReleaseAborted })
	if r.Status.StableRevision != before.Revision {
		t.Errorf("wanted %s to serve, found %s", before.Revision, r.Status.StableRevision)
	}
	// A policy that only warns, or is gone, holds nothing.
	p.release("cart", "1.2.0", `{"name": "flow"}`)
	p.awaitRelease("cart", func(r *v1alpha1.Release) bool { return strings.Contains(r.Status.Message, "TG-FREEZE-WINDOW") })
	p.kubectl(stage.Admin, "", "patch", "deploypolicy", freezeWindows, "--type=merge", "-p", `{"spec": {"enforcement": "warn"}}`)
	p.awaitRelease("cart", func(r *v1alpha1.Release) bool { return r.Status.Phase == v1alpha1.ReleaseServing })
}

func (p *people) frozenSync(t *testing.T) {
	p.kubectl(stage.Admin, "", "patch", "deploypolicy", freezeWindows, "--type=merge", "-p", `{"spec": {"enforcement": "deny"}}`)
	p.publish("three", channels...)
	s := p.awaitSync("the sync to be held", func(s *v1alpha1.TemplateSyncStatus) bool {
		return brief(s.Target) == flow+"-3" && strings.Contains(s.Message, "TG-FREEZE-WINDOW")
	})
	if r := p.theRelease("pilot"); brief(r.Status.TemplateRevision) != flow+"-1" {
		t.Errorf("pilot is on %s in a freeze: %s", r.Status.TemplateRevision, s.Message)
	}
	if out, err := p.Tidegate(t.Context(), operator, "template", "status", flow); err != nil || !strings.Contains(out, "TG-FREEZE-WINDOW") {
		t.Errorf("template status: %v\n%s", err, out)
	}
	p.kubectl(stage.Admin, "", "patch", "deploypolicy", freezeWindows, "--type=merge", "-p", `{"spec": {"enforcement": "warn"}}`)
	p.awaitRelease("pilot", func(r *v1alpha1.Release) bool {
		return r.Status.Phase == v1alpha1.ReleaseServing && brief(r.Status.TemplateRevision) == flow+"-3"
	})
	p.kubectl(stage.Admin, "", "patch", "deploypolicy", freezeWindows, "--type=merge", "-p", `{"spec": {"enforcement": "deny"}}`)
	if out, err := p.Tidegate(t.Context(), operator, "template", "rollback", flow, "--to", "1", "--reason", "three is worse"); err != nil {
		t.Fatalf("rollback: %v\n%s", err, out)
	}
	p.awaitRelease("pilot", func(r *v1alpha1.Release) bool {
		return r.Status.Phase == v1alpha1.ReleaseServing && brief(r.Status.TemplateRevision) == flow+"-1"
	})
}

// policy applies a DeployPolicy and waits until it is in force.
func (p *people) policy(t *testing.T, name, rego, at, parameters string) {
	t.Helper()
	raw, err := yaml.Marshal(map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "DeployPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"rego": rego, "at": []string{at}, "parameters": json.RawMessage(parameters)},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.kubectl(stage.Admin, string(raw), "apply", "--server-side", "-f", "-")
	p.await("policy "+name+" to be in force", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "deploypolicy", name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		return out == "True", out
	})
}

// publish applies the template with a text that every pod carries, so that it rolls.
func (p *people) publish(text string, channels ...v1alpha1.TemplateChannel) {
	p.Helper()
	spec := map[string]any{
		"files": map[string]string{"flow.cue": fmt.Sprintf(flowSource, text)},
		"sync": map[string]any{"type": "Staged", "waves": []any{map[string]any{
			"name": "pilots", "selector": map[string]any{"matchLabels": map[string]string{"ring": "pilot"}}, "soak": "1h",
		}}},
	}
	if len(channels) > 0 {
		spec["channels"] = channels
	}
	raw, err := yaml.Marshal(map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseTemplate", "metadata": map[string]any{"name": flow}, "spec": spec,
	})
	if err != nil {
		p.Fatal(err)
	}
	p.kubectl(stage.Admin, string(raw), "apply", "--server-side", "-f", "-")
}

func (p *people) release(name, tag, template string) {
	p.Helper()
	p.kubectl(stage.Team, releaseManifest(name, tag, template), "apply", "-f", "-")
}

func releaseManifest(name, tag, template string) string {
	return fmt.Sprintf(`apiVersion: tidegate.io/v1alpha1
kind: Release
metadata:
  name: %[1]s
  namespace: %[2]s
  labels: {ring: %[1]s}
spec:
  template: %[4]s
  values: {image: "shop/%[1]s:%[3]s"}
`, name, stage.Namespace, tag, template)
}

func (p *people) theRelease(name string) *v1alpha1.Release {
	p.Helper()
	r := &v1alpha1.Release{}
	p.decode(r, "release", name)
	return r
}

func (p *people) awaitRelease(name string, is func(*v1alpha1.Release) bool) *v1alpha1.Release {
	p.Helper()
	var r *v1alpha1.Release
	p.await("Release "+name, func() (bool, string) {
		r = p.theRelease(name)
		return r.Status.ObservedGeneration == r.Generation && is(r),
			fmt.Sprintf("%s on %s: %s", r.Status.Phase, r.Status.TemplateRevision, r.Status.Message)
	})
	return r
}

func (p *people) awaitSync(what string, is func(*v1alpha1.TemplateSyncStatus) bool) *v1alpha1.TemplateSyncStatus {
	p.Helper()
	t := &v1alpha1.ReleaseTemplate{}
	p.await(what, func() (bool, string) {
		*t = v1alpha1.ReleaseTemplate{}
		p.decode(t, "releasetemplate", flow)
		if t.Status.Sync == nil {
			return false, fmt.Sprintf("%+v", t.Status.Conditions)
		}
		s := t.Status.Sync
		return t.Status.ObservedGeneration == t.Generation && is(s), fmt.Sprintf("%s to %s: %s", s.Phase, s.Target, s.Message)
	})
	return t.Status.Sync
}

const peopleManifest = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operators}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-template-operate}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: olga}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: clerks}
rules:
- {apiGroups: [tidegate.io], resources: [templatecommands], verbs: [create, get, list]}
- {apiGroups: [tidegate.io], resources: [releasetemplates, templaterevisions], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: clerks}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: clerks}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: carl}]
`

// flowSource is a service in a few lines: two steps, no analysis.
const flowSource = `package flow

#Variables: {
	// The image of the service.
	image: string
}
#Context: {name: string, namespace: string, template: string, revision: string}

values:  #Variables
context: #Context

_labels: {
	"tidegate.io/release":  context.name
	"tidegate.io/revision": context.revision
}

objects: {
	deployment: {
		apiVersion: "apps/v1"
		kind:       "Deployment"
		metadata: name: "\(context.name)-\(context.revision)"
		spec: {
			replicas: 1
			selector: matchLabels: _labels
			template: {
				metadata: {labels: _labels, annotations: text: %q}
				spec: containers: [{
					name:  "main"
					image: values.image
					ports: [{containerPort: 8080}]
				}]
			}
		}
	}
	service: {
		apiVersion: "v1"
		kind:       "Service"
		metadata: name: "\(context.name)-\(context.revision)"
		spec: {
			selector: _labels
			ports: [{port: 80, targetPort: 8080}]
		}
	}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1"
		kind:       "HTTPRoute"
		metadata: name: context.name
		spec: {
			parentRefs: [{name: "public", namespace: "gateway-system"}]
			hostnames: ["\(context.name).shop.example"]
			rules: [{backendRefs: [{name: "\(context.name)-\(context.revision)", port: 80}]}]
		}
	}
}

rollout: {
	type:       "canary"
	drainDelay: "1s"
	steps: [{setWeight: 50}, {setWeight: 100}]
}
`
