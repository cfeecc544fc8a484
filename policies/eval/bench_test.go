package eval_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// pod is a Pod of about so many bytes.
func pod(size int) json.RawMessage {
	const container = `{"name": "c%d", "image": "ghcr.io/shop/cart:1.2.%d", "imagePullPolicy": "IfNotPresent", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
		"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}], "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
		"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
		"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true}}`
	var list []string
	for n := 0; n < size; n += len(container) {
		list = append(list, fmt.Sprintf(container, len(list), len(list)))
	}
	return json.RawMessage(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}, "spec": {"containers": [` + strings.Join(list, ",") + `]}}`)
}

func podRequest(size int) eval.Request {
	return eval.Request{
		UID: "1", Kind: eval.GroupKind{Version: "v1", Kind: "Pod"}, Resource: eval.GroupResource{Version: "v1", Resource: "pods"}, Name: "web", Namespace: "shop",
		Operation: "CREATE", UserInfo: eval.UserInfo{Username: "alice", Groups: []string{"system:authenticated"}}, Object: pod(size),
	}
}

// podPolicies are so many that look at each container and have nothing against it.
func podPolicies(b *testing.B, n int) *eval.Set {
	b.Helper()
	list := make([]*eval.Policy, 0, n)
	for i := range n {
		list = append(list, compile(b, eval.Source{
			Name: fmt.Sprintf("p%03d", i), Parameters: []byte(`{"prefix": "ghcr.io/"}`), Rego: `package p
deny contains msg if {
	some c in input.object.spec.containers
	not startswith(c.image, input.parameters.prefix)
	msg := sprintf("container %q: %s", [c.name, c.image])
}
deny contains msg if {
	some c in input.object.spec.containers
	not c.securityContext.runAsNonRoot
	msg := sprintf("container %q", [c.name])
}`,
			Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Kinds: []string{"Pod"}}}},
		}))
	}
	return eval.NewSet(list...)
}

func ask(b *testing.B, set *eval.Set, r eval.Request) {
	b.Helper()
	v := set.Judge(b.Context(), eval.Question{
		Moment: v1alpha1.AtAdmission, Kind: r.Kind.Kind, Namespace: r.Namespace, Operation: r.Operation,
		Load: func() (eval.Input, error) { return eval.RequestInput(v1alpha1.AtAdmission, r) },
	})
	if len(v.Denials) > 0 {
		b.Fatal(v.Denials)
	}
}

func BenchmarkJudge(b *testing.B) {
	for _, size := range []int{2 << 10, 50 << 10, 1 << 20} {
		for _, n := range []int{0, 1, 10, 50} {
			if size == 1<<20 && n == 50 {
				continue // more than all its time, on a slow machine
			}
			b.Run(fmt.Sprintf("%dkB/%d policies", size>>10, n), func(b *testing.B) {
				set, r := podPolicies(b, n), podRequest(size)
				b.ReportAllocs()
				for b.Loop() {
					ask(b, set, r)
				}
			})
		}
	}
	b.Run("200 policies, none of the kind", func(b *testing.B) {
		set, r := podPolicies(b, 200), podRequest(2<<10)
		r.Kind.Kind = "ConfigMap"
		b.ReportAllocs()
		for b.Loop() {
			ask(b, set, r)
		}
	})
}

func BenchmarkInput(b *testing.B) {
	for _, size := range []int{2 << 10, 50 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dkB", size>>10), func(b *testing.B) {
			r := podRequest(size)
			b.SetBytes(int64(len(r.Object)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := eval.RequestInput(v1alpha1.AtAdmission, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCUE(b *testing.B) {
	set := eval.NewSet(compile(b, eval.Source{Name: "p", CUE: `object: spec: containers: [...{image: =~"^ghcr.io/", securityContext: runAsNonRoot: true}]`}))
	for _, size := range []int{2 << 10, 50 << 10} {
		b.Run(fmt.Sprintf("%dkB", size>>10), func(b *testing.B) {
			r := podRequest(size)
			b.ReportAllocs()
			for b.Loop() {
				ask(b, set, r)
			}
		})
	}
}
