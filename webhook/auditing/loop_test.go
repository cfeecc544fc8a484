package auditing_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

// constraintStore has the constraint in force.
func constraintStore(t *testing.T) (*gatekeeper.Store, *unstructured.Unstructured) {
	t.Helper()
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
	u := read(constraint)
	if err := store.PutConstraint(u); err != nil {
		t.Fatal(err)
	}
	return store, u
}

func TestConstraintsAreAskedAsGatekeepersAuditAsksThem(t *testing.T) {
	store, _ := constraintStore(t)
	config := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"match": []any{
		map[string]any{"excludedNamespaces": []any{"left-*"}, "processes": []any{"audit"}},
		map[string]any{"excludedNamespaces": []any{"lab"}, "processes": []any{"webhook"}},
	}}}}
	left, err := gatekeeper.Exclusions(config)
	if err != nil {
		t.Fatal(err)
	}
	store.Exclude(left)
	// No Gate governs these: constraints know no Gates.
	w := newWorld(t, namespace("lab"), namespace("kube-system"), namespace("left-out"), deployment("lab", "a"), deployment("kube-system", "b"), deployment("left-out", "c"))
	a := w.auditor()
	a.Constraints = store
	var c auditing.Collected
	if _, err := a.Run(t.Context(), auditing.Scope{}, &c); err != nil {
		t.Fatal(err)
	}
	got := c.Findings()
	if len(got) != 1 || got[0].Policy != "NoName/strict" || got[0].Message != "no a" || got[0].Result != audit.Warn || got[0].Code != "TG-GATEKEEPER-DENY" {
		t.Errorf("got %+v", got)
	}
}

func TestTheStatusOfAConstraintSaysWhatTheAuditFound(t *testing.T) {
	store, u := constraintStore(t)
	if err := unstructured.SetNestedSlice(u.Object, []any{map[string]any{"id": "other"}}, "status", "byPod"); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{namespace("lab"), u}
	for n := range 25 {
		objects = append(objects, deployment("lab", fmt.Sprintf("d-%02d", n)))
	}
	w := newWorld(t, objects...)
	a := w.auditor()
	a.Constraints = store
	// tell audits, and returns the status, without what others say in it.
	tell := func() map[string]any {
		t.Helper()
		totals, err := a.Run(t.Context(), auditing.Scope{}, &auditing.Collected{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.WriteConstraints(t.Context(), totals); err != nil {
			t.Fatal(err)
		}
		now := u.DeepCopy()
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(u), now); err != nil {
			t.Fatal(err)
		}
		status, _, err := unstructured.NestedMap(now.Object, "status")
		if err != nil || len(status["byPod"].([]any)) != 1 {
			t.Errorf("what others said is gone: %v, %v", status, err)
		}
		return status
	}
	status := tell()
	list, _ := status["violations"].([]any)
	if status["totalViolations"] != int64(25) || len(list) != 20 || status["auditTimestamp"] != "2026-05-04T12:00:00Z" {
		t.Errorf("of 25 it says %v with %d examples, at %v", status["totalViolations"], len(list), status["auditTimestamp"])
	}
	want := map[string]any{
		"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "lab", "name": "d-00", "message": "no d-00", "enforcementAction": "warn",
	}
	if !reflect.DeepEqual(list[0], any(want)) {
		t.Errorf("an example is %v, want %v", list[0], want)
	}
	w.clock.Step(time.Hour)
	if again := tell(); !reflect.DeepEqual(again, status) {
		t.Errorf("nothing has changed, and it says %v", again)
	}
	if err := w.client.DeleteAllOf(t.Context(), deployment("lab", ""), client.InNamespace("lab")); err != nil {
		t.Fatal(err)
	}
	status = tell()
	if list, _ := status["violations"].([]any); status["totalViolations"] != int64(0) || len(list) != 0 || status["auditTimestamp"] != "2026-05-04T13:00:00Z" {
		t.Errorf("of none it says %v", status)
	}
	if err := w.client.Delete(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteConstraints(t.Context(), &auditing.Totals{}); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}
