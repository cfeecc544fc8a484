package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

// TestJobOnStage walks a step with a Job in a governed namespace, by the template that docs/canary.md
// shows: with the chart's rights, through the webhook and the policies of the API server.
func TestJobOnStage(t *testing.T) {
	p := onStage(t)
	example, err := filepath.Abs("../../docs/examples/canary")
	if err != nil {
		t.Fatal(err)
	}
	p.kubectl(stage.Admin, p.tidegate("template", "bundle", example, "--name", "canary"), "apply", "--server-side", "-f", "-")
	p.await("TemplateRevision canary-1", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "templaterevisions", "-o", "name")
		return strings.Contains(out, "canary-1-"), out
	})
	release := func(tag string) {
		p.kubectl(stage.Team, fmt.Sprintf(`{"apiVersion": "tidegate.io/v1alpha1", "kind": "Release", "metadata": {"name": %q, "namespace": %q},
			"spec": {"template": {"name": "canary"}, "values": {"image": "shop/cart:%s"}}}`, app, stage.Namespace, tag), "apply", "-f", "-")
	}
	release("1.0.0")
	p.awaitPhase(v1alpha1.ReleaseServing)
	release("1.1.0")
	const name = app + "-2-s2-1"
	p.await("the rollout to wait for a person, after its Job", func() (bool, string) {
		rel := p.release()
		if rel.Status.Rollout != app+"-2" {
			return false, rel.Status.Message
		}
		ro := p.rollout(rel.Status.Rollout)
		return ro.Status.Reason == "TG-HOLD-APPROVAL" && ro.Status.Step == 3, ro.Status.Reason + ": " + ro.Status.Message
	})
	job := &batchv1.Job{}
	p.decode(job, "job", name)
	if job.Status.Succeeded != 1 || job.Labels[v1alpha1.LabelRollout] != app+"-2" || len(job.OwnerReferences) != 1 {
		t.Errorf("wanted the Job of the rollout to have succeeded, found %+v", job)
	}

	p.Run("a Job with the same labels of somebody else is refused", func(t *testing.T) {
		for i, user := range []string{stage.Team, stage.Admin} {
			other := &batchv1.Job{
				TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-2-s2-%d", app, i+2), Namespace: stage.Namespace, Labels: job.Labels, Annotations: job.Annotations, OwnerReferences: job.OwnerReferences},
				Spec:       *job.Spec.DeepCopy(),
			}
			other.Spec.Selector, other.Spec.Template.Labels = nil, nil // those that the API server gave
			text, err := json.Marshal(other)
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.Kubectl(t.Context(), user, string(text), "create", "-f", "-")
			if err == nil || !strings.Contains(err.Error(), "TG-GATE-") {
				t.Errorf("wanted the gate to refuse a Job that %s makes, found %v\n%s", user, err, out)
			}
		}
	})
	p.Run("nobody else deletes it", func(t *testing.T) {
		if out, err := p.Kubectl(t.Context(), stage.Team, "", "delete", "job", name, "-n", stage.Namespace, "--wait=false"); err == nil || !strings.Contains(err.Error(), "TG-GATE-") {
			t.Errorf("wanted the gate to refuse, found %v\n%s", err, out)
		}
	})
	p.Run("the manager may do all that it tries", func(t *testing.T) {
		log, err := os.ReadFile(p.ManagerLog())
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`(?i).*(is forbidden|failed to (list|watch)|\b403\b).*`).FindAllString(string(log), 5); len(found) > 0 {
			t.Errorf("wanted no refusal in the manager's log, found\n%s", strings.Join(found, "\n"))
		}
		if !strings.Contains(string(log), "{") {
			t.Errorf("the log says nothing:\n%s", log)
		}
	})
}

// tidegate runs the CLI as the administrator.
func (p *play) tidegate(args ...string) string {
	p.Helper()
	out, err := p.Tidegate(p.Context(), stage.Admin, args...)
	if err != nil {
		p.Fatalf("tidegate %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
