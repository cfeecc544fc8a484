package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

// gatedRollout stands in for what template web has: one step that waits for a person, and
// then all of the traffic.
const gatedRollout = `rollout: {
	type: "canary"
	steps: [{setWeight: 20}, {pause: approval: true}, {setWeight: 100}]
	drainDelay: "1s"
}
`

const promotionRoles = `
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: approvers, namespace: shop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tidegate-approve},
 subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: dora}]}
`

// TestPromotionPolicies puts the shipped policies about promotion in the way of a Rollout that
// runs, with the chart and a manager process.
func TestPromotionPolicies(t *testing.T) {
	p := promotionPlay{onStage(t)}
	p.kubectl(stage.Admin, promotionRoles, "apply", "-f", "-")
	p.kubectl(stage.Admin, p.template(), "apply", "--server-side", "-f", "-")
	p.await("the revision of the template", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "templaterevisions", "-o", "name")
		return strings.Contains(out, "web-1"), out
	})
	p.apply("1.0.0")
	p.awaitPhase(v1alpha1.ReleaseServing)

	p.freeze(6 * time.Hour)
	p.apply("1.1.0")
	p.Run("in a freeze window exposure does not rise, and the next opening is shown", p.frozen)
	p.Run("when the window is over it goes on by itself", p.thawed)
	p.Run("the author's own approval is not enough", p.own)
	p.Run("another person's is, but for a group that has to agree", p.another)
	p.Run("one of the group lets it go on", p.group)
}

type promotionPlay struct{ *play }

// template is web with the steps of this test.
func (p promotionPlay) template() string {
	p.Helper()
	files, err := stage.TemplateFiles()
	if err != nil {
		p.Fatal(err)
	}
	source := files["web.cue"]
	from := strings.Index(source, "\nrollout: ")
	to := from + strings.Index(source[max(from, 0):], "\n}}\n") + len("\n}}\n")
	if from < 0 || to <= from {
		p.Fatal("wanted the rollout of template web in web.cue, found none")
	}
	files["web.cue"] = source[:from+1] + gatedRollout + source[to:]
	delete(files, "tests.cue") // They are about the steps that it has.
	raw, err := yaml.Marshal(map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseTemplate", "metadata": map[string]any{"name": "web"}, "spec": map[string]any{"files": files},
	})
	if err != nil {
		p.Fatal(err)
	}
	return string(raw)
}

// policy applies a shipped policy with parameters, and waits until it is in force.
func (p promotionPlay) policy(name string, parameters map[string]any) {
	p.Helper()
	raw, err := os.ReadFile(filepath.Join("../../policies/library", name, "deploypolicy.yaml"))
	if err != nil {
		p.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(raw, &o.Object); err != nil {
		p.Fatal(err)
	}
	if err := unstructured.SetNestedMap(o.Object, parameters, "spec", "parameters"); err != nil {
		p.Fatal(err)
	}
	if raw, err = yaml.Marshal(o.Object); err != nil {
		p.Fatal(err)
	}
	p.kubectl(stage.Admin, string(raw), "apply", "--server-side", "--force-conflicts", "-f", "-")
	p.kubectl(stage.Admin, "", "wait", "deploypolicy/"+name, "--for", "condition=Ready", "--timeout", "60s")
	p.await("policy "+name+" as it is written now to serve", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "deploypolicy", name, "-o", "jsonpath={.metadata.generation} {.status.observedGeneration}")
		generation, observed, _ := strings.Cut(out, " ")
		return generation == observed, out
	})
}

// freeze closes for some time from now on.
func (p promotionPlay) freeze(lasting time.Duration) {
	p.Helper()
	now := time.Now().UTC()
	p.policy("freeze-windows", map[string]any{"zone": "UTC", "windows": []any{map[string]any{
		"name": "inventory", "reason": "the shop counts its stock", "from": now.Add(-time.Hour).Format(time.RFC3339), "to": now.Add(lasting).Format(time.RFC3339),
	}}})
}

// held waits until the Rollout holds for a reason, and returns it.
func (p promotionPlay) held(reason string, parts ...string) *v1alpha1.Rollout {
	p.Helper()
	var ro *v1alpha1.Rollout
	p.await("the Rollout to hold: "+reason+" "+strings.Join(parts, " "), func() (bool, string) {
		ro = p.current()
		seen := ro.Status.Reason + ": " + ro.Status.Message
		for _, part := range parts {
			if !strings.Contains(ro.Status.Message, part) {
				return false, seen
			}
		}
		return ro.Status.Reason == reason, seen
	})
	return ro
}

func (p promotionPlay) current() *v1alpha1.Rollout {
	p.Helper()
	var name string
	p.await("the second Rollout", func() (bool, string) {
		name = p.release().Status.Rollout
		return strings.HasSuffix(name, "-2"), name
	})
	return p.rollout(name)
}

func (p promotionPlay) frozen(t *testing.T) {
	ro := p.held(plan.ReasonHoldPolicy, "TG-FREEZE-WINDOW", "it opens on ", "the shop counts its stock")
	if ro.Status.ApprovedWeight != 0 {
		t.Errorf("I2: wanted no exposure in a freeze window, found %d %%", ro.Status.ApprovedWeight)
	}
	out, err := p.Tidegate(p.Context(), stage.Team, "status", app, "-n", stage.Namespace)
	if err != nil || !strings.Contains(out, "it opens on ") {
		t.Errorf("wanted the next opening in what the team sees, found %v\n%s", err, out)
	}
}

func (p promotionPlay) thawed(t *testing.T) {
	p.freeze(5 * time.Second) // From then on nobody does anything.
	ro := p.held(plan.ReasonHoldApproval)
	if ro.Status.ApprovedWeight != 20 {
		t.Errorf("wanted it to have risen to 20 %%, found %d %%", ro.Status.ApprovedWeight)
	}
}

// approve records somebody's approval of the first step.
func (p promotionPlay) approve(user string, groups ...string) {
	p.Helper()
	path, err := p.Cluster.UserKubeconfig(user, groups...)
	if err != nil {
		p.Fatal(err)
	}
	kubectl, err := p.Cluster.BinaryPath(p.Context(), "kubectl")
	if err != nil {
		p.Fatal(err)
	}
	name := "approve-" + user
	cmd := exec.CommandContext(p.Context(), kubectl, "create", "-f", "-")
	cmd.Env = stage.Env(path)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(
		`{"apiVersion": "tidegate.io/v1alpha1", "kind": "RolloutCommand", "metadata": {"name": %q, "namespace": "shop"}, "spec": {"rollout": %q, "action": "approve", "step": 2}}`,
		name, p.current().Name))
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Fatalf("%s approves: %v\n%s", user, err, out)
	}
	p.await("the approval of "+user+" to be taken up", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "rolloutcommand", name, "-n", stage.Namespace, "-o", "jsonpath={.status.outcome} {.status.message}")
		return strings.HasPrefix(out, string(v1alpha1.OutcomeApplied)), out
	})
}

func (p promotionPlay) own(t *testing.T) {
	p.policy("two-person", map[string]any{"above": int64(20)})
	p.approve(stage.Team, stage.TeamGroup)
	if ro := p.held(plan.ReasonHoldPolicy, "TG-TWO-PERSON"); ro.Status.ApprovedWeight != 20 {
		t.Errorf("wanted it to stay at 20 %%, found %d %%", ro.Status.ApprovedWeight)
	}
}

func (p promotionPlay) another(t *testing.T) {
	p.policy("approvals", map[string]any{"groups": []any{"sre"}, "count": int64(1), "above": int64(20)})
	p.approve("bob", "dev")
	if ro := p.held(plan.ReasonHoldPolicy, "TG-APPROVAL-MISSING"); ro.Status.ApprovedWeight != 20 {
		t.Errorf("wanted it to stay at 20 %%, found %d %%", ro.Status.ApprovedWeight)
	}
}

func (p promotionPlay) group(t *testing.T) {
	p.approve("dora", "sre")
	p.awaitPhase(v1alpha1.ReleaseServing)
	ro := p.current()
	var who []string
	for _, a := range ro.Status.Approvals {
		who = append(who, a.Actor)
	}
	if got := strings.Join(who, " "); ro.Status.Phase != v1alpha1.RolloutSucceeded || got != "alice bob dora" {
		t.Errorf("wanted it to succeed by the approval of alice, bob and dora, found %s, %q", ro.Status.Phase, got)
	}
}
