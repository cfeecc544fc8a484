package auditing_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook/auditing"
)

func TestTheLoopWaitsForPoliciesAndThenLooksAgainAndAgain(t *testing.T) {
	w := newWorld(t, namespace("shop"), gate(), deployment("shop", "a"))
	w.policy("strict", deployments.GroupKind())
	numbers := auditing.NewMetrics()
	registry := prometheus.NewRegistry()
	if err := numbers.Register(registry); err != nil {
		t.Fatal(err)
	}
	var loaded atomic.Bool
	loop := &auditing.Loop{
		Auditor: w.auditor(), Interval: 10 * time.Minute, Metrics: numbers, Clock: w.clock, Log: logr.Discard(),
		Ready: func() error {
			if !loaded.Load() {
				return errors.New("not loaded yet")
			}
			return nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Start(ctx) }()
	// expect lets time pass, until the loop rests again.
	expect := func(what string, passes time.Duration, reports int, violations string) {
		t.Helper()
		w.clock.Step(passes)
		if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return w.clock.HasWaiters(), nil }); err != nil {
			t.Fatalf("%s: it does not rest: %v", what, err)
		}
		if got := w.reports(); len(got) != reports {
			t.Errorf("%s: wanted %d reports, got %q", what, reports, got)
		}
		if violations != "" {
			violations = "# HELP tidegate_audit_violations What policies have against objects that exist, by policy, enforcement and result.\n" +
				"# TYPE tidegate_audit_violations gauge\ntidegate_audit_violations{enforcement=\"deny\",policy=\"strict\",result=\"fail\"} " + violations + "\n"
		}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(violations), "tidegate_audit_violations"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	expect("without policies every report would be taken back", 0, 0, "")
	expect("they are not loaded yet", time.Hour, 0, "")
	loaded.Store(true)
	expect("then it looks", time.Second, 2, "1")
	if err := w.client.Create(t.Context(), deployment("shop", "b")); err != nil {
		t.Fatal(err)
	}
	expect("and rests", 9*time.Minute, 2, "1")
	expect("and looks again", time.Minute, 2, "2")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

const template = `
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: noname}
spec:
  crd: {spec: {names: {kind: NoName}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package noname
        violation[{"msg": msg}] { msg := sprintf("no %v", [input.review.object.metadata.name]) }
`

const constraint = `
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: NoName
metadata: {name: strict}
spec:
  enforcementAction: scoped
  scopedEnforcementActions:
    - {action: warn, enforcementPoints: [{name: audit.gatekeeper.sh}]}
    - {action: deny, enforcementPoints: [{name: validation.gatekeeper.sh}]}
  match: {kinds: [{apiGroups: [apps], kinds: [Deployment]}]}
`

func TestConstraintsAreAskedAsGatekeepersAuditAsksThem(t *testing.T) {
	store := gatekeeper.NewStore()
	read := func(text string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		return u
	}
	if _, err := store.PutTemplate(read(template)); err != nil {
		t.Fatal(err)
	}
	if err := store.PutConstraint(read(constraint)); err != nil {
		t.Fatal(err)
	}
	// No Gate governs these: constraints know no Gates.
	w := newWorld(t, namespace("lab"), namespace("kube-system"), deployment("lab", "a"), deployment("kube-system", "b"))
	a := w.auditor()
	a.Constraints = store.Set
	var c auditing.Collected
	if _, err := a.Run(t.Context(), auditing.Scope{}, &c); err != nil {
		t.Fatal(err)
	}
	got := c.Findings()
	if len(got) != 1 || got[0].Policy != "NoName/strict" || got[0].Message != "no a" || got[0].Result != audit.Warn || got[0].Code != "TG-GATEKEEPER-DENY" {
		t.Errorf("got %+v", got)
	}
}
