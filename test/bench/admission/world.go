package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// cached answers as an informer's cache does that hands out what it holds.
type cached struct {
	namespace corev1.Namespace
	gates     []v1alpha1.Gate
	release   v1alpha1.Release
}

func newCached() *cached {
	return &cached{
		namespace: corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: namespace, UID: "1", ResourceVersion: "1", Labels: map[string]string{"kubernetes.io/metadata.name": namespace},
		}},
		gates: []v1alpha1.Gate{{
			ObjectMeta: metav1.ObjectMeta{Name: "production"},
			Spec:       v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{namespace}}, Writers: []string{writer}},
		}},
		release: v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: namespace}, Spec: v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}}},
	}
}

// Get implements client.Reader.
func (c *cached) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch o := into.(type) {
	case *corev1.Namespace:
		if key.Name == c.namespace.Name {
			*o = c.namespace
			return nil
		}
	case *v1alpha1.Release:
		if key.Name == c.release.Name {
			*o = c.release
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// List implements client.Reader.
func (c *cached) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if list, ok := into.(*v1alpha1.GateList); ok {
		list.Items = c.gates
	}
	return nil
}

// errNobody is the answer of what no request of the bench may need.
var errNobody = errors.New("the bench has no such thing")

type nobody struct{}

func (nobody) Check(context.Context, map[string]string) error { return errNobody }

func (nobody) Vet(context.Context, map[string]string) ([]render.Finding, error) {
	return nil, errNobody
}

func (nobody) Render(context.Context, webhook.Source, []byte, render.Context) (*render.Result, error) {
	return nil, errNobody
}

func (nobody) Immutable(context.Context, webhook.Source, []byte, []byte) error { return errNobody }

func (nobody) Compare(context.Context, map[string]string, map[string]string) (*render.Comparison, error) {
	return nil, errNobody
}

func (nobody) Allowed(context.Context, authenticationv1.UserInfo, authorizationv1.ResourceAttributes) (bool, error) {
	return false, errNobody
}

// asked are the shipped policies in Rego that a good Deployment passes as they come.
var asked = []string{
	"image-tags", "probes", "resources", "plain-secrets", "privileged", "host-access", "run-as-non-root", "seccomp", "capabilities",
	"read-only-root", "volume-types", "pod-security-baseline", "pod-security-restricted", "job-limits", "image-pull-policy",
}

// deployPolicies are so many about Deployments, the shipped ones over and over.
func deployPolicies(n int) ([]eval.Source, error) {
	out := make([]eval.Source, 0, n)
	for i := range n {
		p, err := library.Get(asked[i%len(asked)])
		if err != nil {
			return nil, err
		}
		s := eval.FromDeployPolicy(p)
		s.Name = fmt.Sprintf("%s-%03d", s.Name, i)
		s.At = []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}
		s.Enforcement, s.EnforcementIn = v1alpha1.EnforcementDeny, nil
		s.Match.Kinds = []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"Deployment"}}}
		if i >= len(asked) {
			s.Tests = v1alpha1.PolicyTests{} // the first of each was tested
		}
		out = append(out, s)
	}
	return out, nil
}

// gateStore has so many policies in force.
func gateStore(sources []eval.Source) (*eval.Store, error) {
	store := eval.NewStore()
	for _, s := range sources {
		if err := store.Put(s); err != nil {
			return nil, err
		}
	}
	return store, nil
}

// gateHandlers are the webhook's own, over the store.
func gateHandlers(store *eval.Store) (*webhook.Handlers, error) {
	return webhook.New(webhook.Config{
		Reader: newCached(), Policies: store, Renderer: nobody{}, Authorizer: nobody{}, Identity: identity, ManagerNamespace: "tidegate-system",
		Clock: clock.RealClock{}, Metrics: webhook.NewMetrics(),
	})
}

// reloadable are the sources in another version: the same rules, other digests.
func reloadable(sources []eval.Source, version int) eval.Source {
	s := sources[version%len(sources)]
	s.Tests = v1alpha1.PolicyTests{}
	s.Rego += fmt.Sprintf("\n# version %d\n", version)
	s.At = slices.Clone(s.At)
	return s
}
