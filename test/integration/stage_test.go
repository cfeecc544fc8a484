package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/traffic/load"
	"tidegate.io/tidegate/test/stage"
)

// TestStage plays with everything real: the chart, a manager process, Prometheus, a gateway and
// requests. The cases follow each other on one stage and leave a serving Release behind.
func TestStage(t *testing.T) {
	p := onStage(t)
	p.begin()

	p.Run("a manager that is killed at random points ends the same, and no request is lost", p.killed)
	p.Run("an outage of Prometheus holds the canary and aborts nothing", p.sourceOutage)
	p.Run("a manager at rest writes nothing and stays small", p.atRest)
	p.Run("commands of the team pause, resume and abort", p.commands)
	p.Run("what steps make of a route is let in by the gate", p.steps)
}

// play is one performance on a stage.
type play struct {
	*testing.T
	*stage.Stage
	recorder *load.Recorder
}

const app = "cart"

// begin publishes the template, installs the first version and starts the load.
func (p *play) begin() {
	p.Helper()
	manifest, err := stage.Template()
	if err != nil {
		p.Fatal(err)
	}
	p.kubectl(stage.Admin, manifest, "apply", "--server-side", "-f", "-")
	p.await("TemplateRevision web-1", func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "templaterevisions", "-o", "name")
		return strings.Contains(out, "web-1-"), out
	})
	p.apply("1.0.0")
	p.awaitPhase(v1alpha1.ReleaseServing)
	p.recorder, err = load.Run(p.Context(), load.Options{URL: p.Cluster.GatewayURL() + "/", Host: "cart.shop.example", RPS: 200})
	if err != nil {
		p.Fatal(err)
	}
}

func (p *play) killed(t *testing.T) {
	// The seed is fixed so that a failure can be looked at again; the points still differ with the
	// machine's pace, which is what makes them worth trying.
	random := rand.New(rand.NewPCG(7, 11))
	began := p.recorder.Now()
	p.apply("1.1.0")
	for kill := range 3 {
		wait := time.Duration(500+random.IntN(9000)) * time.Millisecond
		t.Logf("kill %d comes %s later", kill+1, wait)
		p.pass(wait)
		if err := p.KillManager(p.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.StartManager(p.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rel := p.awaitPhase(v1alpha1.ReleaseServing)
	ro := p.rollout(rel.Status.Rollout)
	if ro.Status.Phase != v1alpha1.RolloutSucceeded {
		t.Errorf("wanted the Rollout to succeed, found %s: %s", ro.Status.Phase, ro.Status.Message)
	}
	if lost := p.recorder.Since(began).Lost; lost > 0 {
		t.Errorf("wanted no lost request, found %s", p.recorder.Since(began))
	}
	if out := p.kubectl(stage.Admin, "", "get", "deployments", "-n", stage.Namespace, "-o", "name"); strings.Count(out, "\n") != 1 {
		t.Errorf("wanted one set, found:\n%s", out)
	}
	p.withinApproval(t, ro)
}

// withinApproval compares the shares served with the weights approved, I4.
func (p *play) withinApproval(t *testing.T, ro *v1alpha1.Rollout) {
	t.Helper()
	history, spans := ro.Status.History, 0
	for i, h := range history[:len(history)-1] {
		from, to := h.At.Add(time.Second), history[i+1].At.Time
		if h.Weight == 0 || h.Weight == 100 || to.Sub(from) < 3*time.Second {
			continue
		}
		spans++
		span := p.recorder.Between(from, to)
		share := span.Share(ro.Spec.Revision)
		t.Logf("step %d: approved %d %%, served %.2f %% of %d requests", h.Step, h.Weight, share, span.Sent)
		if share > float64(h.Weight)+1 {
			t.Errorf("I4: step %d: wanted at most %d %%, found %.2f %% of %d requests", h.Step, h.Weight, share, span.Sent)
		}
		if share < float64(h.Weight)/2 {
			t.Errorf("step %d: wanted about %d %%, found %.2f %% of %d requests: the load does not see the weights", h.Step, h.Weight, share, span.Sent)
		}
	}
	if spans < 3 {
		t.Errorf("wanted each of the three steps to be served long enough to compare, found %d", spans)
	}
}

func (p *play) sourceOutage(t *testing.T) {
	if err := p.Cluster.StopComponent(p.Context(), local.Prometheus); err != nil {
		t.Fatal(err)
	}
	p.apply("1.2.0")
	var ro *v1alpha1.Rollout
	p.await("the canary to hold for want of data", func() (bool, string) {
		rel := p.release()
		if rel.Status.ObservedGeneration != rel.Generation || rel.Status.Rollout == "" {
			return false, rel.Status.Message
		}
		ro = p.rollout(rel.Status.Rollout)
		a := ro.Status.Analysis
		return a != nil && a.Verdict == v1alpha1.VerdictUnknown && ro.Status.Reason == "TG-HOLD-NODATA", ro.Status.Reason + ": " + ro.Status.Message
	})
	if cause := ro.Status.Analysis.Findings[0].Cause; cause != v1alpha1.CauseSourceDown {
		t.Errorf("wanted cause SourceDown, found %s: %s", cause, ro.Status.Message)
	}
	first := ro.Status.Analysis.TakenAt
	p.await("more rounds without data", func() (bool, string) {
		ro = p.rollout(ro.Name)
		if ro.Status.Weight != 5 || ro.Status.Phase != v1alpha1.RolloutProgressing {
			t.Fatalf("I2: wanted the Rollout to hold at 5 %%, found %s at %d %%: %s", ro.Status.Phase, ro.Status.Weight, ro.Status.Message)
		}
		return ro.Status.Analysis.TakenAt.Sub(first.Time) > 8*time.Second, ro.Status.Message
	})
	if err := p.Cluster.StartComponent(p.Context(), local.Prometheus); err != nil {
		t.Fatal(err)
	}
	p.awaitPhase(v1alpha1.ReleaseServing)
}

func (p *play) atRest(t *testing.T) {
	m, err := p.StartManager(p.Context())
	if err != nil {
		t.Fatal(err)
	}
	versions := func() string {
		return p.kubectl(stage.Admin, "", "get", "releases,rollouts,deployments,services,httproutes,poddisruptionbudgets", "-n", stage.Namespace,
			"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
	}
	before := versions()
	p.pass(10 * time.Second)
	if after := versions(); after != before {
		t.Errorf("I5: wanted no write at rest, found\n%s\nbecame\n%s", before, after)
	}
	memory, err := m.Memory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("memory of the manager at rest: %.0f MiB resident", float64(memory)/(1<<20))
	if limit := int64(512 << 20); memory > limit {
		t.Errorf("wanted less memory than the chart's limit of 512 MiB, found %d bytes", memory)
	}
}

func (p *play) commands(t *testing.T) {
	stable := p.release().Status.Revision
	p.apply("1.3.0")
	p.await("the canary at 5 %", func() (bool, string) {
		rel := p.release()
		return rel.Status.Phase == v1alpha1.ReleaseProgressing && rel.Status.Weight == 5, rel.Status.Message
	})
	if out, err := p.Tidegate(p.Context(), stage.Team, "pause", app, "-n", stage.Namespace, "--reason", "looking at the logs"); err != nil {
		t.Fatalf("pause: %v\n%s", err, out)
	}
	p.await("the pause", func() (bool, string) {
		rel := p.release()
		return rel.Status.Phase == v1alpha1.ReleasePaused, rel.Status.Message
	})
	if out, err := p.Tidegate(p.Context(), stage.Team, "abort", app, "-n", stage.Namespace, "--reason", "not today"); err != nil {
		t.Fatalf("abort: %v\n%s", err, out)
	}
	rel := p.awaitPhase(v1alpha1.ReleaseAborted)
	if rel.Status.StableRevision != stable || rel.Status.Weight != 0 {
		t.Errorf("I3: wanted revision %s to have all of the traffic, found %s, weight of the canary %d", stable, rel.Status.StableRevision, rel.Status.Weight)
	}
	out := p.kubectl(stage.Admin, "", "get", "rolloutcommands", "-n", stage.Namespace, "-o", `jsonpath={range .items[*]}{.spec.action} {.spec.actor} {.status.outcome}{"\n"}{end}`)
	for _, want := range []string{"pause alice Applied", "abort alice Applied"} {
		if !strings.Contains(out, want) {
			t.Errorf("wanted the trail to say %q, found:\n%s", want, out)
		}
	}
	if lost := p.recorder.Snapshot(); lost.Lost > 0 {
		t.Errorf("wanted no lost request in all, found %s", lost)
	}
}

func (p *play) apply(tag string) {
	p.Helper()
	p.kubectl(stage.Team, stage.Release(app, tag), "apply", "-f", "-")
}

func (p *play) kubectl(user, stdin string, args ...string) string {
	p.Helper()
	out, err := p.Kubectl(p.Context(), user, stdin, args...)
	if err != nil {
		p.Fatal(err)
	}
	return out
}

func (p *play) release() *v1alpha1.Release {
	p.Helper()
	rel := &v1alpha1.Release{}
	p.decode(rel, "release", app)
	return rel
}

func (p *play) rollout(name string) *v1alpha1.Rollout {
	p.Helper()
	ro := &v1alpha1.Rollout{}
	p.decode(ro, "rollout", name)
	return ro
}

func (p *play) decode(into any, kind, name string) {
	p.Helper()
	if err := json.Unmarshal([]byte(p.kubectl(stage.Admin, "", "get", kind, name, "-n", stage.Namespace, "-o", "json")), into); err != nil {
		p.Fatal(err)
	}
}

// awaitPhase waits until the Release as last applied has the phase and returns it.
func (p *play) awaitPhase(phase v1alpha1.ReleasePhase) *v1alpha1.Release {
	p.Helper()
	var rel *v1alpha1.Release
	p.await(fmt.Sprintf("the Release to be %s", phase), func() (bool, string) {
		rel = p.release()
		return rel.Status.ObservedGeneration == rel.Generation && rel.Status.Phase == phase,
			fmt.Sprintf("%s: %s", rel.Status.Phase, rel.Status.Message)
	})
	return rel
}

// await polls until ok; last is what was seen last, for the failure.
func (p *play) await(what string, check func() (ok bool, last string)) {
	p.Helper()
	last := ""
	err := p.WaitFor(p.Context(), what, 3*time.Minute, func(context.Context) (bool, error) {
		var ok bool
		ok, last = check()
		return ok, nil
	})
	if err != nil {
		p.Fatalf("%v; last seen: %s", err, last)
	}
}

// pass lets time go by while the cluster works.
func (p *play) pass(d time.Duration) {
	p.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.Context().Done():
		p.Fatal(p.Context().Err())
	}
}

// complain prints the end of the manager's log.
func (p *play) complain() {
	raw, err := os.ReadFile(p.ManagerLog())
	if err != nil {
		p.Log(err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	p.Logf("the manager's last words:\n%s", strings.Join(lines[max(0, len(lines)-25):], "\n"))
}

// logWriter writes progress to a test's log.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
