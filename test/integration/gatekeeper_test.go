package integration

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

const (
	suites = "../../cmd/tidegate/internal/suite/testdata/good/"
	soon   = 30 * time.Second
)

// Templates and constraints are applied as they are, and judge.
func TestGatekeepersObjectsApplyAsTheyAre(t *testing.T) {
	log.SetLogger(managerLog("gatekeeper"))
	cluster := local.ForTest(t, local.Options{})
	if err := cluster.InstallCRDs(t.Context(), "../../charts/tidegate/resources/gatekeeper"); err != nil {
		t.Fatal(err)
	}
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := cluster.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	apply := func(text string) {
		t.Helper()
		if _, err := cluster.KubectlInput(t.Context(), strings.NewReader(text), "apply", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	eventually := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(soon); !done(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("wanted %s within %s", what, soon)
			}
		}
	}

	store := engine.NewStore()
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(cluster.RESTConfig(), ctrl.Options{Scheme: s, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	loader, err := gatekeeper.Setup(mgr, gatekeeper.SyncOptions{Store: store, Replica: "one", Namespace: "tidegate-system", SkipNameValidation: true})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := gatekeeper.New(gatekeeper.Options{Store: store, Reader: mgr.GetClient(), Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually("the first load", func() bool { return loader.Ready(nil) == nil })

	ask := func(object, group, kind string) admission.Response {
		q := admissionv1.AdmissionRequest{
			UID: "1", Operation: admissionv1.Create, Name: "a", Namespace: "default",
			Kind: metav1.GroupVersionKind{Group: group, Version: "v1", Kind: kind},
		}
		q.Object.Raw = []byte(object)
		return handler.Handle(t.Context(), admission.Request{AdmissionRequest: q})
	}
	const bare = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}`

	kubectl("apply", "-f", suites+"labels/template.yaml")
	eventually("the kind of the constraints", func() bool {
		_, err := cluster.Kubectl(t.Context(), "wait", "--for=condition=Established", "--timeout=1s", "crd/teamlabels.constraints.gatekeeper.sh")
		return err == nil
	})
	eventually("the status of the template", func() bool {
		return kubectl("get", "constrainttemplate", "teamlabels", "-o", "jsonpath={.status.created} {.status.byPod[0].id}") == "true one"
	})
	if _, err := cluster.Kubectl(t.Context(), "apply", "-f", suites+"labels/nolabels.yaml"); err == nil {
		t.Error("wanted the API server to refuse parameters that do not fit")
	}
	kubectl("apply", "-f", suites+"labels/constraint.yaml")
	eventually("a denial", func() bool { return !ask(bare, "", "ConfigMap").Allowed })
	message := ask(bare, "", "ConfigMap").Result.Message
	for _, want := range []string{"TG-GATEKEEPER-DENY: [owners] ConfigMap a lacks the label stage; ask the platform team\n", "do: change the object", "kubectl get teamlabels.constraints.gatekeeper.sh owners"} {
		if !strings.Contains(message, want) {
			t.Errorf("wanted %q in: %s", want, message)
		}
	}
	eventually("the status of the constraint", func() bool {
		return kubectl("get", "teamlabels", "owners", "-o", "jsonpath={.status.byPod[0].id} {.status.byPod[0].enforced} {.status.byPod[0].observedGeneration}") == "one true 1"
	})
	// A template that breaks keeps its last good version, and says so.
	kubectl("patch", "constrainttemplate", "teamlabels", "--type=json", "-p", `[{"op": "add", "path": "/spec/targets/0/rego", "value": "package p\nviolation[x] { nonsense }"}]`)
	eventually("the problem of the template", func() bool {
		return strings.Contains(kubectl("get", "constrainttemplate", "teamlabels", "-o", "jsonpath={.status.created} {.status.byPod[0].errors[0].message}"), "The last version that worked stays in force.")
	})
	if ask(bare, "", "ConfigMap").Allowed {
		t.Error("wanted the last good version to stay in force")
	}
	kubectl("apply", "-f", suites+"labels/template.yaml")
	// A Config counts where Gatekeeper reads it, and nowhere else.
	config := func(namespace string) string {
		return `{apiVersion: config.gatekeeper.sh/v1alpha1, kind: Config, metadata: {name: config, namespace: ` + namespace + `}, spec: {match: [{excludedNamespaces: ["def*"], processes: ["*"]}]}}`
	}
	apply(config("default"))
	kubectl("create", "namespace", "gatekeeper-system")
	if ask(bare, "", "ConfigMap").Allowed {
		t.Error("wanted a Config of another namespace to leave nothing out")
	}
	apply(config("gatekeeper-system"))
	eventually("that the namespace is left out", func() bool { return ask(bare, "", "ConfigMap").Allowed })
	kubectl("delete", "config", "config", "-n", "gatekeeper-system")
	eventually("that it is not any more", func() bool { return !ask(bare, "", "ConfigMap").Allowed })
	kubectl("patch", "teamlabels", "owners", "--type=merge", "-p", `{"spec": {"enforcementAction": "warn"}}`)
	eventually("a warning", func() bool {
		r := ask(bare, "", "ConfigMap")
		return r.Allowed && len(r.Warnings) == 2
	})

	// Of the old version, parameters may be anything.
	kubectl("apply", "-f", suites+"legacy/template.yaml")
	eventually("the kind of the constraints", func() bool {
		_, err := cluster.Kubectl(t.Context(), "apply", "-f", suites+"legacy/constraint.yaml")
		return err == nil
	})
	eventually("its denials", func() bool { return !ask(bare, "", "ConfigMap").Allowed })
	kubectl("delete", "oldstyle", "words")
	eventually("that it is gone", func() bool { return ask(bare, "", "ConfigMap").Allowed })

	// Inventory.
	template, err := os.ReadFile(suites + "unique/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(string(template))
	apply(`{apiVersion: syncset.gatekeeper.sh/v1alpha1, kind: SyncSet, metadata: {name: spaces}, spec: {gvks: [{group: "", version: v1, kind: Namespace}]}}`)
	kubectl("label", "namespace", "default", "closed=true")
	eventually("the kind of the constraints", func() bool {
		_, err := cluster.Kubectl(t.Context(), "apply", "-f", suites+"unique/constraint.yaml")
		return err == nil
	})
	const route = `{"apiVersion": "example.com/v1", "kind": "Route", "metadata": {"name": "a", "namespace": "default"}, "spec": {"host": "x"}}`
	eventually("a denial that follows from the inventory", func() bool {
		r := ask(route, "example.com", "Route")
		return !r.Allowed && strings.Contains(r.Result.Message, "shared hosts are closed")
	})
	kubectl("delete", "syncset", "spaces")
	eventually("that the inventory is empty", func() bool { return ask(route, "example.com", "Route").Allowed })

	// A template that breaks keeps its last good version; its author is told.
	kubectl("patch", "teamlabels", "owners", "--type=merge", "-p", `{"spec": {"enforcementAction": "deny"}}`)
	eventually("a denial", func() bool { return !ask(bare, "", "ConfigMap").Allowed })
	kubectl("patch", "constrainttemplate", "teamlabels", "--type=json", "-p", `[{"op": "replace", "path": "/spec/targets/0/rego", "value": "package p\nviolation[{\"msg\": m}] { m := nothing }"}]`)
	eventually("the error in the status", func() bool {
		return strings.Contains(kubectl("get", "constrainttemplate", "teamlabels", "-o", "jsonpath={.status}"), "nothing")
	})
	if ask(bare, "", "ConfigMap").Allowed {
		t.Error("wanted the last good version to be in force")
	}
	kubectl("delete", "constrainttemplate", "teamlabels")
	eventually("that nothing objects", func() bool { return ask(bare, "", "ConfigMap").Allowed })
}
