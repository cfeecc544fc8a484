package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/worker"
)

func TestAPolicyInCUEThatRunsAwayCostsAWorkerAndNothingElse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	t.Parallel()
	pool, err := newJudges(logr.Discard(), worker.NewPolicyMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := eval.Compiler{CUE: worker.Policies{Pool: pool}}.NewStore()
	doubling := "input: request: userInfo: username: string\n_t0: input.request.userInfo.username\n"
	for i := range 40 {
		doubling += fmt.Sprintf("_t%d: _t%d + _t%d\n", i+1, i, i)
	}
	for name, source := range map[string]string{"bomb": doubling + "object: x?: =~_t40\n", "good": "object: spec: replicas: >=2"} {
		if err := store.Put(eval.Source{Name: name, CUE: source}); err != nil {
			t.Fatal(err)
		}
	}
	request := eval.Request{
		Kind: eval.GroupKind{Group: "apps", Version: "v1", Kind: "Deployment"}, Namespace: "shop", Operation: "CREATE",
		UserInfo: eval.UserInfo{Username: strings.Repeat("alice", 10)},
		Object:   []byte(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "x": "y", "spec": {"replicas": 1}}`),
	}
	v := store.Set().Judge(t.Context(), eval.AdmissionQuestion(request, nil, nil, nil))
	if len(v.Denials) != 2 || len(v.OverBudget) != 1 || v.OverBudget[0] != "bomb" {
		t.Fatalf("%+v", v)
	}
	for _, d := range v.Denials {
		want := map[string]string{"bomb": eval.ReasonPolicyBudget, "good": eval.ReasonPolicyDeny}[d.Policy]
		if d.Code != want {
			t.Errorf("wanted %s of %s, found %+v", want, d.Policy, d)
		}
	}
	err = store.Check(t.Context(), eval.Source{Name: "never", CUE: strings.ReplaceAll(doubling, "input.request.userInfo.username\n", "\"0123456789abcdef0123456789abcdef\"\n") + "object: x?: _t40\ny: _t40\n"})
	if err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("wanted a policy that takes too much to compile to be refused, found %v", err)
	}
}
