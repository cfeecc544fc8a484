package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/traffic/load"
	"tidegate.io/tidegate/test/stage"
)

const (
	// rps is the load: enough for evidence in windows of seconds at 5 %.
	rps = 250
	// rolloutTimeout bounds the wait for a Rollout.
	rolloutTimeout = 3 * time.Minute
	host           = "cart.shop.example"
	releaseName    = "cart"
)

// demo is one performance.
type demo struct {
	*story
	stage    *stage.Stage
	recorder *load.Recorder
	exposed  []exposure
}

// exposure is a span of time during which the route carried a weight.
type exposure struct {
	revision string
	weight   int32
	from, to time.Time
}

func (d *demo) play(ctx context.Context) error {
	loadCtx, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	acts := []struct {
		title string
		play  func(context.Context) error
	}{
		{"1. The platform team publishes a template", d.publish},
		{"2. The service team makes mistakes, and reads what was wanted", d.mistakes},
		{"3. The first release: five lines of values", d.install},
		{"4. Users arrive, and a good version rolls out", func(ctx context.Context) error { return d.good(ctx, loadCtx) }},
		{"5. The platform team changes the template", d.change},
		{"6. A bad version: 5 % of its answers are errors", d.bad},
		{"7. Going around the flow", d.bypass},
		{"8. The same with Tidegate stopped", d.stopped},
	}
	for _, act := range acts {
		d.act(act.title)
		if err := act.play(ctx); err != nil {
			d.expect(false, act.title, err.Error())
			break
		}
	}
	stopLoad()
	return d.summary(ctx)
}

// kubectl types a kubectl command.
func (d *demo) kubectl(ctx context.Context, who, stdin string, args ...string) (string, error) {
	path, err := d.stage.Cluster.BinaryPath(ctx, "kubectl")
	if err != nil {
		return "", err
	}
	return d.typed(ctx, who, stdin, path, "kubectl", args...)
}

// tidegate types a command of the CLI.
func (d *demo) tidegate(ctx context.Context, who string, args ...string) (string, error) {
	return d.typed(ctx, who, "", d.stage.Binary("tidegate"), "tidegate", args...)
}

func (d *demo) typed(ctx context.Context, who, stdin, path, name string, args ...string) (string, error) {
	config, err := d.stage.Kubeconfig(who)
	if err != nil {
		return "", err
	}
	return d.run(ctx, command{who: who, path: path, args: args, shown: append([]string{name}, args...), env: stage.Env(config), stdin: stdin})
}

func (d *demo) publish(ctx context.Context) error {
	manifest, err := stage.Template()
	if err != nil {
		return err
	}
	d.say("the template is schemas/templates/web; its platform.cue here sets a pace of seconds")
	if _, err := d.stage.Kubectl(ctx, stage.Admin, manifest, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	err = d.stage.WaitFor(ctx, "TemplateRevision web-1", 30*time.Second, func(ctx context.Context) (bool, error) {
		out, err := d.stage.Kubectl(ctx, stage.Admin, "", "get", "templaterevisions", "-o", "name")
		return strings.Contains(out, "web-1-"), err
	})
	if err != nil {
		return err
	}
	out, err := d.kubectl(ctx, stage.Admin, "", "get", "releasetemplates,templaterevisions,gates,metricsources")
	d.expect(err == nil && strings.Contains(out, "web-1-"), "the template is published as revision web-1", "it is not listed")
	return err
}

// mistake is a wrong manifest and what its answer must say.
type mistake struct {
	what string
	edit func(string) string
	want []string
}

var mistakes = []mistake{
	{"a wrong type", sub(`replicas: 4`, `replicas: "four"`), []string{"values.replicas", "four"}},
	{"a port out of range", sub(`containerPort: 8080`, `containerPort: 80800`), []string{"values.containerPort", "80800", "65535"}},
	{"a typo in a key", sub(`replicas: 4`, `replicsa: 4`), []string{"values.replicsa", "replicas"}},
	{"no image", sub(`    image: shop/cart:1.0.0`+"\n", ``), []string{"values.image"}},
}

func sub(from, to string) func(string) string {
	return func(s string) string { return strings.Replace(s, from, to, 1) }
}

func (d *demo) mistakes(ctx context.Context) error {
	for _, m := range mistakes {
		out, err := d.kubectl(ctx, stage.Team, m.edit(stage.Release(releaseName, "1.0.0")), "apply", "-f", "-")
		d.refused(m.what, out, err, m.want...)
	}
	return nil
}

// refused expects a command to have been refused with a message that says all of want.
func (d *demo) refused(what, out string, err error, want ...string) {
	if err == nil {
		d.expect(false, what+" is refused", "it was accepted")
		return
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			d.expect(false, what+" is refused", fmt.Sprintf("the answer does not say %q", w))
			return
		}
	}
	d.expect(true, what+" is refused, and the answer says why", "")
}

func (d *demo) install(ctx context.Context) error {
	if _, err := d.kubectl(ctx, stage.Team, stage.Release(releaseName, "1.0.0"), "apply", "-f", "-"); err != nil {
		return err
	}
	rel, err := d.follow(ctx)
	if err != nil {
		return err
	}
	d.expect(rel.Status.Phase == v1alpha1.ReleaseServing, "version 1.0.0 serves", rel.Status.Message)
	_, err = d.kubectl(ctx, stage.Admin, "", "get", "releases,deployments,services,httproutes,pdb", "-n", stage.Namespace)
	return err
}

func (d *demo) good(ctx, loadCtx context.Context) error {
	var err error
	d.say("a load generator sends %d requests per second through the gateway, from now to the end", rps)
	d.recorder, err = load.Run(loadCtx, load.Options{URL: d.stage.Cluster.GatewayURL() + "/", Host: host, RPS: rps})
	if err != nil {
		return err
	}
	began := d.recorder.Now()
	if _, err := d.kubectl(ctx, stage.Team, stage.Release(releaseName, "1.1.0"), "apply", "-f", "-"); err != nil {
		return err
	}
	rel, err := d.follow(ctx)
	if err != nil {
		return err
	}
	d.expect(rel.Status.Phase == v1alpha1.ReleaseServing, "version 1.1.0 was promoted", rel.Status.Message)
	_, err = d.tidegate(ctx, stage.Team, "status", releaseName, "-n", stage.Namespace)
	lost := d.recorder.Since(began).Lost
	d.expect(lost == 0, "the promotion lost no request", fmt.Sprintf("%d were lost", lost))
	return err
}

func (d *demo) bad(ctx context.Context) error {
	before, err := d.release(ctx)
	if err != nil {
		return err
	}
	began := d.recorder.Now()
	if _, err := d.kubectl(ctx, stage.Team, stage.Release(releaseName, "1.2.0-errors5"), "apply", "-f", "-"); err != nil {
		return err
	}
	rel, err := d.follow(ctx)
	if err != nil {
		return err
	}
	d.expect(rel.Status.Phase == v1alpha1.ReleaseAborted, "version 1.2.0-errors5 was aborted", rel.Status.Message)
	d.expect(strings.Contains(rel.Status.Message, "%") && strings.Contains(rel.Status.Message, "error-ratio"),
		"the Release says why, with numbers", rel.Status.Message)
	d.expect(rel.Status.StableRevision == before.Status.Revision, "the stable revision is the one from before", rel.Status.StableRevision)
	if _, err := d.kubectl(ctx, stage.Team, "", "get", "releases", "-n", stage.Namespace); err != nil {
		return err
	}
	// The exit code of status tells of the abort; its output is what counts here.
	_, _ = d.tidegate(ctx, stage.Team, "status", releaseName, "-n", stage.Namespace)
	lost := d.recorder.Since(began).Lost
	d.expect(lost == 0, "the rollback lost no request", fmt.Sprintf("%d were lost", lost))
	return nil
}

const handWritten = `apiVersion: apps/v1
kind: %s
metadata: {name: rogue, namespace: %s}
spec:
  replicas: 1
  selector: {matchLabels: {app: rogue}}
  template:
    metadata: {labels: {app: rogue}}
    spec: {containers: [{name: c, image: "shop/rogue:1"}]}
`

func (d *demo) bypass(ctx context.Context) error {
	rel, err := d.release(ctx)
	if err != nil {
		return err
	}
	set := "deployment/" + releaseName + "-" + rel.Status.StableRevision
	ns := []string{"-n", stage.Namespace}
	edit := "kubectl edit release " + releaseName
	attempts := []struct {
		what, who, stdin string
		args, want       []string
	}{
		{"kubectl set image", stage.Team, "", []string{"set", "image", set, "*=shop/cart:hacked"}, []string{"TG-", edit}},
		{"kubectl scale", stage.Team, "", []string{"scale", set, "--replicas=1"}, []string{"TG-", "kubectl patch release " + releaseName}},
		{"a hand-written Deployment", stage.Team, fmt.Sprintf(handWritten, "Deployment", stage.Namespace), []string{"apply", "-f", "-"}, []string{"TG-", "Release"}},
		{"kubectl delete deployment, by the administrator", stage.Admin, "", []string{"delete", set}, []string{"TG-", edit}},
		{"a bare Pod, by the administrator", stage.Admin, "", []string{"run", "rogue", "--image=shop/rogue:1"}, []string{"TG-"}},
		{"a hand-made ReplicaSet", stage.Team, fmt.Sprintf(handWritten, "ReplicaSet", stage.Namespace), []string{"apply", "-f", "-"}, []string{"TG-"}},
	}
	for _, a := range attempts {
		out, err := d.kubectl(ctx, a.who, a.stdin, append(a.args, ns...)...)
		d.refused(a.what, out, err, a.want...)
	}
	out, err := d.kubectl(ctx, stage.Team, "", "run", "free", "--image=shop/free:1", "-n", stage.OpenNamespace)
	d.expect(err == nil, "namespaces that no Gate governs are left alone", out)
	return nil
}

func (d *demo) stopped(ctx context.Context) error {
	began := d.recorder.Now()
	d.say("the manager is told to stop, as on a node that is drained")
	if err := d.stage.StopManager(ctx); err != nil {
		return err
	}
	out, err := d.kubectl(ctx, stage.Admin, "", "run", "rogue", "--image=shop/rogue:1", "-n", stage.Namespace)
	d.refused("a bare Pod, with the manager stopped", out, err, "TG-")
	out, err = d.kubectl(ctx, stage.Team, fmt.Sprintf(handWritten, "Deployment", stage.Namespace), "apply", "-f", "-")
	d.refused("a hand-written Deployment, with the manager stopped", out, err, "failed calling webhook", "kinds.gates.tidegate.io")
	out, err = d.kubectl(ctx, stage.Team, fmt.Sprintf(handWritten, "Deployment", stage.OpenNamespace), "apply", "-f", "-")
	d.expect(err == nil, "namespaces that no Gate governs do not notice", out)
	pods := "pods -l tidegate.io/release=" + releaseName
	gone, err := d.evictOne(ctx)
	if err != nil {
		return err
	}
	d.expect(gone, "an evicted pod is replaced by the built-in controllers", pods)
	lost := d.recorder.Since(began).Lost
	d.expect(lost == 0, "requests go on without the manager, none is lost", fmt.Sprintf("%d were lost", lost))
	_, err = d.stage.StartManager(ctx)
	return err
}

// evictOne evicts a pod as a drain does and waits for the set to be whole again.
func (d *demo) evictOne(ctx context.Context) (bool, error) {
	out, err := d.stage.Kubectl(ctx, stage.Admin, "", "get", "pods", "-n", stage.Namespace, "-l", v1alpha1.LabelRelease+"="+releaseName, "-o", "name")
	if err != nil {
		return false, err
	}
	names := strings.Fields(out)
	if len(names) == 0 {
		return false, errors.New("there is no pod to evict")
	}
	name := strings.TrimPrefix(names[0], "pod/")
	eviction := fmt.Sprintf(`{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": %q, "namespace": %q}}`, name, stage.Namespace)
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/eviction", stage.Namespace, name)
	if out, err := d.kubectl(ctx, stage.Admin, eviction, "create", "--raw", path, "-f", "-"); err != nil {
		return false, fmt.Errorf("%w: %s", err, out)
	}
	err = d.stage.WaitFor(ctx, "the evicted pod to be replaced", 30*time.Second, func(ctx context.Context) (bool, error) {
		out, err := d.stage.Kubectl(ctx, stage.Admin, "", "get", "pods", "-n", stage.Namespace, "-l", v1alpha1.LabelRelease+"="+releaseName,
			"-o", `jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		return err == nil && !strings.Contains(out, name+" ") && strings.Count(out, " True") == len(names), err
	})
	return err == nil, err
}

func (d *demo) release(ctx context.Context) (*v1alpha1.Release, error) {
	out, err := d.stage.Kubectl(ctx, stage.Team, "", "get", "release", releaseName, "-n", stage.Namespace, "-o", "json")
	if err != nil {
		return nil, err
	}
	var rel v1alpha1.Release
	return &rel, json.Unmarshal([]byte(out), &rel)
}

func (d *demo) rollout(ctx context.Context, name string) (*v1alpha1.Rollout, error) {
	out, err := d.stage.Kubectl(ctx, stage.Team, "", "get", "rollout", name, "-n", stage.Namespace, "-o", "json")
	if err != nil {
		return nil, err
	}
	var ro v1alpha1.Rollout
	return &ro, json.Unmarshal([]byte(out), &ro)
}

// times are moments in messages, which make two that say the same differ.
var times = regexp.MustCompile(`\d\d:\d\d:\d\dZ`)

// follow prints the progress of the newest Rollout until it has ended and the Release says so.
func (d *demo) follow(ctx context.Context) (*v1alpha1.Release, error) {
	var rel *v1alpha1.Release
	var ended *v1alpha1.Rollout
	last, taken := "", time.Time{}
	err := d.stage.WaitFor(ctx, "the rollout to end", rolloutTimeout, func(ctx context.Context) (bool, error) {
		var err error
		if rel, err = d.release(ctx); err != nil {
			return false, err
		}
		if rel.Status.ObservedGeneration != rel.Generation || rel.Status.Rollout == "" {
			return false, nil
		}
		ro, err := d.rollout(ctx, rel.Status.Rollout)
		if err != nil {
			return false, err
		}
		if a := ro.Status.Analysis; a != nil && !a.TakenAt.Time.Equal(taken) {
			taken = a.TakenAt.Time
			d.live("%-11s step %d: %s", "  analysis", a.Step, verdict(a))
		}
		line := fmt.Sprintf("%-11s weight %3d %%  %s", ro.Status.Phase, ro.Status.Weight, ro.Status.Message)
		if key := times.ReplaceAllString(line, ""); ro.Status.Phase != "" && key != last {
			last = key
			d.live("%s", line)
		}
		if ro.Status.Phase.Terminal() {
			ended = ro
		}
		done := rel.Status.Phase == v1alpha1.ReleaseServing || rel.Status.Phase == v1alpha1.ReleaseAborted || rel.Status.Phase == v1alpha1.ReleaseInvalid
		return done && ended != nil, nil
	})
	if ended != nil {
		d.exposed = append(d.exposed, exposures(ended)...)
	}
	return rel, err
}

// verdict is one line about a round of analysis: the numbers of both revisions.
func verdict(a *v1alpha1.AnalysisRound) string {
	parts := []string{string(a.Verdict)}
	for i, f := range a.Findings {
		if i > 0 && f.Metric == a.Findings[i-1].Metric {
			continue // the other judge of the same numbers
		}
		parts = append(parts, fmt.Sprintf("%s %s of %s requests (stable %s of %s)", f.Metric, f.Canary, f.CanarySamples, f.Stable, f.StableSamples))
	}
	return strings.Join(parts, ", ")
}

// settling is how long after an approval the gateway may take to serve by it.
const settling = time.Second

// exposures are the spans of a Rollout, from when a weight had settled until the next was approved.
func exposures(ro *v1alpha1.Rollout) []exposure {
	var spans []exposure
	for i, h := range ro.Status.History {
		if h.Weight == 0 || h.Weight == 100 || i+1 == len(ro.Status.History) {
			continue
		}
		from, to := h.At.Add(settling), ro.Status.History[i+1].At.Time
		if to.Sub(from) > settling {
			spans = append(spans, exposure{revision: ro.Spec.Revision, weight: h.Weight, from: from, to: to})
		}
	}
	return spans
}
