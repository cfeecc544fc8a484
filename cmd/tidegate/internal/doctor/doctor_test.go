package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/govern"
)

const home = "tidegate-system"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// sick is a cluster, well as it is made, and what a case does to it.
type sick struct {
	t       *testing.T
	objects []client.Object
	// answer is what the webhook says to the Gate that nobody means.
	answer  error
	version string
	served  bool
	reach   error
	// clock is the API server's.
	clock time.Time
	// unreadable is a kind that may not be listed.
	unreadable client.ObjectList
}

// pemUntil is a certificate.
func pemUntil(t *testing.T, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func well(t *testing.T) *sick {
	t.Helper()
	ca := pemUntil(t, noon.AddDate(1, 0, 0))
	s := &sick{
		t: t, version: "v1.37.2", served: true, clock: noon,
		answer: apierrors.NewForbidden(schema.GroupResource{Group: "tidegate.io", Resource: "gates"}, "x", errors.New("TG-GATE-SPEC: leases")),
	}
	gate := v1alpha1.Gate{
		ObjectMeta: metav1.ObjectMeta{Name: "production", UID: "1", Generation: 1},
		Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}, Allow: v1alpha1.Allowances{Gateways: []string{"envoy"}},
			BreakGlass: &v1alpha1.BreakGlassRule{Users: []string{"dora"}},
		},
		Status: v1alpha1.GateStatus{Namespaces: []string{"shop"}, Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 1, Reason: "Enforced", Message: "it is",
		}}},
	}
	standing, err := gates.Generate([]v1alpha1.Gate{gate}, []govern.Namespace{{Name: "shop"}}, []string{"shop"}, gates.Options{
		Identity: "system:serviceaccount:" + home + ":tidegate-manager", ManagerNamespace: home, CABundle: ca,
		Service: &gates.Service{Namespace: home, Name: "tidegate-webhook", Port: 443},
	})
	if err != nil {
		t.Fatal(err)
	}
	guard := &admissionregistrationv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "tidegate-guard-home"},
		Spec:       admissionregistrationv1.ValidatingAdmissionPolicySpec{FailurePolicy: new(admissionregistrationv1.Fail)},
	}
	chart, err := yaml.Marshal(guard)
	if err != nil {
		t.Fatal(err)
	}
	account := func(name string) *corev1.ServiceAccount {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}}
	}
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "shop/cart:1"}}}
	s.objects = []client.Object{
		account("deployment-controller"), account("replicaset-controller"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&gate, standing.Webhook, standing.Policies[0], standing.Bindings[0], guard, own(ca),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: gates.DefaultChart}, Data: map[string]string{"standing.yaml": string(chart)}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: certSecret}, Data: map[string][]byte{"ca.crt": ca, "tls.crt": pemUntil(t, noon.AddDate(1, 0, 0))}},
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: managerAccount}, Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: noon}}},
		&v1alpha1.DeployPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "probes"},
			Status:     v1alpha1.DeployPolicyStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Serving"}}},
		},
		&v1alpha1.MetricSource{ObjectMeta: metav1.ObjectMeta{Name: "prometheus"}, Spec: v1alpha1.MetricSourceSpec{Prometheus: v1alpha1.PrometheusSource{Address: "http://prometheus"}}},
		&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "rs"}, Spec: appsv1.ReplicaSetSpec{Template: corev1.PodTemplateSpec{Spec: pod}}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-1", OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "cart", UID: "rs", Controller: new(true)}}}, Spec: pod},
	}
	return s
}

// chartConditions are those of the chart, as a YAML reader folds them.
func chartConditions() []admissionregistrationv1.MatchCondition {
	text, err := os.ReadFile("../../../../charts/tidegate/templates/webhook.yaml")
	if err != nil {
		panic(err)
	}
	_, list, _ := strings.Cut(string(text), "    matchConditions:\n")
	list, _, _ = strings.Cut(list, "    rules:\n")
	list = strings.ReplaceAll(list, `{{ include "tidegate.identity" . }}`, "system:serviceaccount:tidegate-system:tidegate-manager")
	var out []admissionregistrationv1.MatchCondition
	if err := yaml.Unmarshal([]byte(list), &out); err != nil {
		panic(err)
	}
	return out
}

// own is the chart's webhook configuration.
func own(ca []byte) *admissionregistrationv1.ValidatingWebhookConfiguration {
	rule := func(ops []admissionregistrationv1.OperationType, resources ...string) admissionregistrationv1.RuleWithOperations {
		return admissionregistrationv1.RuleWithOperations{Operations: ops, Rule: admissionregistrationv1.Rule{APIGroups: []string{"tidegate.io"}, APIVersions: []string{"v1alpha1"}, Resources: resources}}
	}
	h := admissionregistrationv1.ValidatingWebhook{
		Name: ownKinds, FailurePolicy: new(admissionregistrationv1.Fail), MatchPolicy: new(admissionregistrationv1.Equivalent),
		ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: ca},
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{home}},
		}},
		MatchConditions: chartConditions(),
	}
	for op, resources := range ownRules {
		h.Rules = append(h.Rules, rule([]admissionregistrationv1.OperationType{op}, resources...))
	}
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ownWebhook},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{h, {
			Name: optionalWebhook, FailurePolicy: new(admissionregistrationv1.Ignore), MatchPolicy: new(admissionregistrationv1.Equivalent),
		}},
	}
}

// pick is the object of a type and name.
func pick[T client.Object](s *sick, name string) T {
	s.t.Helper()
	for _, o := range s.objects {
		if found, ok := o.(T); ok && o.GetName() == name {
			return found
		}
	}
	s.t.Fatalf("no %T %s", *new(T), name)
	return *new(T)
}

// without takes objects of a name away.
func without[T client.Object](s *sick, name string) {
	gone := client.Object(pick[T](s, name))
	s.objects = slices.DeleteFunc(s.objects, func(o client.Object) bool { return o == gone })
}

func (s *sick) ring2() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return pick[*admissionregistrationv1.ValidatingWebhookConfiguration](s, gates.WebhookName)
}

func (s *sick) own() *admissionregistrationv1.ValidatingWebhook {
	return &pick[*admissionregistrationv1.ValidatingWebhookConfiguration](s, ownWebhook).Webhooks[0]
}

func (s *sick) gate() *v1alpha1.Gate { return pick[*v1alpha1.Gate](s, "production") }

func (s *sick) pod() *corev1.Pod { return pick[*corev1.Pod](s, "cart-1") }

// may gives a user a right, by a role in a namespace, or in the cluster.
func (s *sick) may(namespace, user string, rule rbacv1.PolicyRule) {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "r"}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}}
	if namespace == "" {
		s.objects = append(s.objects, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}},
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"}, Subjects: subjects})
		return
	}
	s.objects = append(s.objects, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "r"}, Subjects: subjects})
}

func (s *sick) look() []Finding {
	s.t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			s.t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(s.objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			var as client.CreateOptions
			as.ApplyOptions(opts)
			if len(as.DryRun) == 0 {
				s.t.Errorf("it created a %T", o)
			}
			o.SetCreationTimestamp(metav1.NewTime(s.clock))
			if _, ok := o.(*v1alpha1.Gate); ok {
				return s.answer
			}
			return nil
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.DeployPolicyList); ok && s.unreadable != nil {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "deploypolicies"}, "", errors.New("no"))
			}
			return c.List(ctx, list, opts...)
		},
	}).Build()
	return Look(s.t.Context(), Cluster{
		Client: c, Namespace: home, Now: func() time.Time { return noon },
		Version: func() (string, error) { return s.version, nil },
		Served:  func(string) (bool, error) { return s.served, nil },
		Reach:   func(context.Context, string) error { return s.reach },
	})
}

func TestAWellClusterHasNoFindings(t *testing.T) {
	findings := well(t).look()
	for _, f := range findings {
		if f.Level != OK || f.Do != "" || f.Message == "" {
			t.Errorf("%s: %s %s; do: %s", f.Check, f.Level, f.Message, f.Do)
		}
	}
	for _, k := range checks {
		if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Check == k.name }) {
			t.Errorf("%s says nothing where all is well", k.name)
		}
	}
	if Worst(findings) != OK {
		t.Errorf("the worst is %s", Worst(findings))
	}
}

// TestWhatIsWrongIsFound breaks one thing in each case. Nothing else may be found.
func TestWhatIsWrongIsFound(t *testing.T) {
	type hooks = *admissionregistrationv1.ValidatingWebhookConfiguration
	for name, tc := range map[string]struct {
		harm  func(*sick)
		check string
		level Level
		want  string
		do    string
		// also is another check that sees it.
		also string
	}{
		"an API server that is too old": {func(s *sick) { s.version = "v1.35.4+k3s1" }, "version", Failed, "wanted Kubernetes 1.36 or newer", "upgrade the cluster", ""},
		"a version that cannot be read": {func(s *sick) { s.version = "main" }, "version", Unknown, "could not be looked at", "", ""},
		"kinds that are not served":     {func(s *sick) { s.served = false }, "kinds", Failed, "wanted the kinds of tidegate.io/v1alpha1", "docs/install.md", "gateway"},
		"controllers that share an identity": {
			func(s *sick) { without[*corev1.ServiceAccount](s, "replicaset-controller") },
			"controllers", Failed, "identity of its own", "--use-service-account-credentials", "",
		},

		"no webhook configuration of the chart": {func(s *sick) { without[hooks](s, ownWebhook) }, "webhook", Failed, "wanted ValidatingWebhookConfiguration tidegate, found none", "helm upgrade", ""},
		"no webhook configuration of the Gates": {func(s *sick) { without[hooks](s, gates.WebhookName) }, "webhook", Failed, "wanted ValidatingWebhookConfiguration tidegate-gates, found none", "get pods", "rings"},
		"an empty webhook configuration":        {func(s *sick) { pick[hooks](s, ownWebhook).Webhooks = nil }, "webhook", Failed, "it has no webhook own.tidegate.io", "helm upgrade", ""},
		"a webhook that fails open":             {func(s *sick) { s.own().FailurePolicy = new(admissionregistrationv1.Ignore) }, "webhook", Failed, "own.tidegate.io does not fail closed", "helm upgrade", ""},
		"a ring that fails open":                {func(s *sick) { s.ring2().Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore) }, "webhook", Failed, "does not fail closed", "", "rings"},
		"a webhook that lets labels through": {
			func(s *sick) {
				s.own().ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
			},
			"webhook", Failed, "leaves objects out by their labels", "", "",
		},
		"a webhook for one version":        {func(s *sick) { s.own().MatchPolicy = new(admissionregistrationv1.Exact) }, "webhook", Failed, "does not match equivalent versions", "", ""},
		"a webhook without an authority":   {func(s *sick) { s.own().ClientConfig.CABundle = nil }, "webhook", Failed, "has no caBundle", "", ""},
		"a webhook with another authority": {func(s *sick) { s.own().ClientConfig.CABundle = pemUntil(s.t, noon.Add(time.Hour)) }, "webhook", Failed, "trusts another authority", "", ""},
		"a webhook that leaves a namespace out": {func(s *sick) {
			e := s.own().NamespaceSelector.MatchExpressions
			e[0].Values = append(e[0].Values, "shop")
		}, "webhook", Failed, "has another namespaceSelector", "", ""},
		"a webhook without a selector":            {func(s *sick) { s.own().NamespaceSelector = nil }, "webhook", Failed, "has another namespaceSelector", "", ""},
		"a webhook that is not asked about Gates": {func(s *sick) { s.own().Rules = s.own().Rules[:0] }, "webhook", Failed, "is not asked about DELETE of gates", "", ""},
		"a webhook that leaves a user out": {
			func(s *sick) {
				s.own().MatchConditions = append(s.own().MatchConditions, admissionregistrationv1.MatchCondition{Name: "not-me", Expression: `request.userInfo.username != "me"`})
			},
			"webhook", Failed, `leaves out what does not meet "not-me"`, "", "",
		},

		"a webhook that leaves everybody out": {
			func(s *sick) { s.own().MatchConditions[0].Expression = "false" }, "webhook", Failed, `leaves out what does not meet "not-the-manager": false`, "", "",
		},

		"a webhook that is not asked":    {func(s *sick) { s.answer = nil }, "webhook answers", Failed, "found it admitted", "kubectl get validatingwebhookconfiguration tidegate", ""},
		"a webhook that does not answer": {func(s *sick) { s.answer = errors.New("failed calling webhook: refused") }, "webhook answers", Failed, "wanted an answer of the webhook", "get pods", ""},
		"no right to ask the webhook": {
			func(s *sick) {
				s.answer = apierrors.NewForbidden(schema.GroupResource{Resource: "gates"}, "", errors.New("RBAC"))
			},
			"webhook answers", Unknown, "needs the right to create gates", "", "",
		},

		"no certificate at all": {func(s *sick) { without[*corev1.Secret](s, certSecret) }, "certificate", Failed, "wanted Secret tidegate-webhook-cert", "get pods", ""},
		"an empty certificate":  {func(s *sick) { pick[*corev1.Secret](s, certSecret).Data["tls.crt"] = nil }, "certificate", Failed, "wanted a certificate in tls.crt", "get pods", ""},
		"a certificate that ended": {func(s *sick) {
			pick[*corev1.Secret](s, certSecret).Data["tls.crt"] = pemUntil(s.t, noon.Add(-time.Minute))
		}, "certificate", Failed, "tls.crt is valid from", "manager's log", ""},
		"a certificate about to end": {func(s *sick) {
			pick[*corev1.Secret](s, certSecret).Data["tls.crt"] = pemUntil(s.t, noon.Add(time.Hour))
		}, "certificate", Warning, "tls.crt ends in 1h", "manager's log", ""},
		"no leader": {func(s *sick) { without[*coordinationv1.Lease](s, managerAccount) }, "manager", Failed, "found no lease", "get pods", ""},
		"a leader that does not move": {func(s *sick) {
			pick[*coordinationv1.Lease](s, managerAccount).Spec.RenewTime.Time = noon.Add(-time.Hour)
		}, "manager", Failed, "signs of life", "get pods", ""},

		"a Gate that is not in force":      {func(s *sick) { s.gate().Status.Conditions[0].Status = metav1.ConditionFalse }, "gates", Failed, "Gate production is not in force: it is", "kubectl describe gate production", ""},
		"a Gate that was changed just now": {func(s *sick) { s.gate().Generation = 2 }, "gates", Failed, "is not in force", "kubectl describe", ""},
		"a Gate over nothing":              {func(s *sick) { s.gate().Status.Namespaces = nil }, "gates", Warning, "governs no namespace", "kubectl edit gate production", ""},
		"a Gate that exempts nobody":       {func(s *sick) { s.gate().Spec.BreakGlass.Users = nil }, "gates", Warning, "spec.breakGlass lists nobody", "spec.breakGlass.users", "rings"},
		"a Gate that knows no gateway":     {func(s *sick) { s.gate().Spec.Allow.Gateways = nil }, "gates", Warning, "the status of routes", "spec.allow.gateways", "rings"},

		"ring 2 without a namespace": {
			func(s *sick) {
				s.ring2().Webhooks[0].NamespaceSelector.MatchExpressions[0].Values = []string{"elsewhere"}
			},
			"rings", Failed, "tidegate-gates is not what the Gates say", "puts it right", "",
		},
		"ring 1 that is not bound": {
			func(s *sick) {
				without[*admissionregistrationv1.ValidatingAdmissionPolicyBinding](s, "tidegate-gate-production")
			},
			"rings", Failed, "tidegate-gate-production or its binding is missing", "puts it right", "",
		},
		"ring 1 that lets everything through": {
			func(s *sick) {
				pick[*admissionregistrationv1.ValidatingAdmissionPolicy](s, "tidegate-gate-production").Spec.Validations = nil
			},
			"rings", Failed, "not what the Gate says", "puts it right", "",
		},
		"a guard that is gone": {
			func(s *sick) { without[*admissionregistrationv1.ValidatingAdmissionPolicy](s, "tidegate-guard-home") },
			"guard", Failed, "ValidatingAdmissionPolicy tidegate-guard-home is missing", "get pods", "",
		},
		"a guard that fails open": {
			func(s *sick) {
				pick[*admissionregistrationv1.ValidatingAdmissionPolicy](s, "tidegate-guard-home").Spec.FailurePolicy = new(admissionregistrationv1.Ignore)
			},
			"guard", Failed, "not what the chart says", "get pods", "",
		},
		"no record of the guards": {func(s *sick) { without[*corev1.ConfigMap](s, gates.DefaultChart) }, "guard", Failed, "wanted ConfigMap tidegate-standing", "helm upgrade", ""},
		"no guards": {
			func(s *sick) { pick[*corev1.ConfigMap](s, gates.DefaultChart).Data["standing.yaml"] = "" },
			"guard", Warning, "nothing guards", "guard.enabled=true", "",
		},

		"who may impersonate anybody":          {func(s *sick) { s.may("", "eve", rule("", "users", "impersonate")) }, "rights", Warning, "act as the manager (impersonate): User eve", "take it from", ""},
		"who may ask for the manager's token":  {func(s *sick) { s.may(home, "eve", rule("", "serviceaccounts/token", "create")) }, "rights", Warning, "get a token of the manager: User eve", "", ""},
		"who may ask for a controller's token": {func(s *sick) { s.may("kube-system", "eve", rule("", "serviceaccounts/token", "create")) }, "rights", Warning, "get a token of a built-in controller", "", ""},
		"who may act as a controller":          {func(s *sick) { s.may("kube-system", "eve", rule("", "serviceaccounts", "impersonate")) }, "rights", Warning, "act as a built-in controller", "", ""},
		"who may act as one controller": {func(s *sick) {
			s.may("", "eve", named(rule("", "users", "impersonate"), "system:serviceaccount:kube-system:replicaset-controller"))
		}, "rights", Warning, "act as a built-in controller", "", ""},
		"who may act as the scheduler":        {func(s *sick) { s.may("", "eve", named(rule("", "users", "impersonate"), "system:kube-scheduler")) }, "rights", Warning, "act as a built-in controller", "", ""},
		"who may act as everything":           {func(s *sick) { s.may("", "eve", named(rule("", "groups", "impersonate"), "system:masters")) }, "rights", Warning, "act as group system:masters", "", ""},
		"who may let certificates in":         {func(s *sick) { s.may("", "eve", rule("certificates.k8s.io", "signers", "approve")) }, "rights", Warning, "approve client certificates", "", ""},
		"who may make roles of any right":     {func(s *sick) { s.may("", "eve", rule("rbac.authorization.k8s.io", "clusterroles", "escalate")) }, "rights", Warning, "give themselves any right", "", ""},
		"who may bind any role":               {func(s *sick) { s.may("", "eve", rule("rbac.authorization.k8s.io", "*", "*")) }, "rights", Warning, "give themselves any right", "", ""},
		"who may run pods beside the manager": {func(s *sick) { s.may(home, "eve", rule("", "pods", "create")) }, "rights", Warning, "run pods in Tidegate's namespace", "", ""},
		"who may get into the manager":        {func(s *sick) { s.may("", "eve", rule("", "pods/exec", "create")) }, "rights", Warning, "get into pods of Tidegate's namespace", "", ""},
		"who may take kinds away":             {func(s *sick) { s.may("", "eve", rule("apiextensions.k8s.io", "customresourcedefinitions", "delete")) }, "rights", Warning, "take away or convert kinds", "", ""},
		"who may write policies":              {func(s *sick) { s.may("", "eve", rule("tidegate.io", "deploypolicies", "update")) }, "rights", Warning, "write DeployPolicies", "", ""},
		"who may change what others write": {func(s *sick) {
			s.guarded(guardCluster)
			s.may("", "eve", rule("*", "mutatingwebhookconfigurations", "create"))
		}, "rights", Warning, "that change what others write", "", ""},
		"who may act as the manager and claim its token, whatever guards": {
			func(s *sick) {
				s.guarded(guardIdentity)
				s.may("", "eve", rbacv1.PolicyRule{APIGroups: []string{"", "authentication.k8s.io"}, Resources: []string{"users", "userextras/authentication.kubernetes.io/credential-id"}, Verbs: []string{"impersonate"}})
			},
			"rights", Warning, "act as the manager (impersonate): User eve", "", "",
		},
		"who may read the webhook's key":    {func(s *sick) { s.may(home, "eve", rule("", "*", "get")) }, "rights", Warning, "read the Secrets", "", ""},
		"who may loosen webhooks":           {func(s *sick) { s.may("", "eve", rule("*", "validatingwebhookconfigurations", "patch")) }, "rights", Warning, "write webhook configurations", "", ""},
		"who may delete admission policies": {func(s *sick) { s.may("", "eve", rule("admissionregistration.k8s.io", "*", "delete")) }, "rights", Warning, "which nothing in the API server guards", "", ""},
		"who may reach a kubelet":           {func(s *sick) { s.may("", "eve", rule("", "*/proxy", "get")) }, "rights", Warning, "reach pods by the kubelet", "", ""},
		"who may do everything":             {func(s *sick) { s.may("", "eve", rule("*", "*", "*")) }, "rights", Warning, "write Gates: User eve", "", ""},
		"a policy that does not serve":      {func(s *sick) { pick[*v1alpha1.DeployPolicy](s, "probes").Status.Conditions = nil }, "policies", Failed, "DeployPolicy probes does not serve", "kubectl describe deploypolicy probes", ""},
		"policies that may not be read":     {func(s *sick) { s.unreadable = &v1alpha1.DeployPolicyList{} }, "policies", Unknown, "could not be looked at", "", ""},
		"a Prometheus that is away":         {func(s *sick) { s.reach = errors.New("refused") }, "metrics", Warning, "MetricSource prometheus does not answer", "ask from within", ""},
		"clocks that differ":                {func(s *sick) { s.clock = noon.Add(time.Minute) }, "clock", Warning, "1m0s apart", "set the clocks", ""},
		"a pod that nothing made":           {func(s *sick) { s.pod().OwnerReferences = nil }, "pods", Failed, "made by nothing that is there", "delete it if nobody means it", ""},
		"a static pod":                      {func(s *sick) { s.pod().Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }, "pods", Failed, "is a static pod", "staticPodPath", ""},
		"a container that was put in": {func(s *sick) {
			c := &s.pod().Spec.Containers
			*c = append(*c, corev1.Container{Name: "proxy", Image: "mesh"})
		}, "pods", Failed, `container "proxy" (mesh) was put in`, "get mutatingwebhookconfigurations", ""},
		"an init container that was put in": {func(s *sick) { s.pod().Spec.InitContainers = []corev1.Container{{Name: "init", Image: "mesh"}} }, "pods", Failed, `init container "init" (mesh) was put in`, "", ""},
		"another image":                     {func(s *sick) { s.pod().Spec.Containers = []corev1.Container{{Name: "main", Image: "evil"}} }, "pods", Failed, "has image evil instead of shop/cart:1", "", ""},
		"a pod in the node's network":       {func(s *sick) { s.pod().Spec.HostNetwork = true }, "pods", Failed, "it shares the node's network", "", ""},
		"a container that was left from debugging": {
			func(s *sick) {
				s.pod().Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Image: "busybox"}}}
			},
			"pods", Warning, `has container "d" (busybox) for debugging`, "evict the pod", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := well(t)
			tc.harm(s)
			seen := false
			for _, f := range s.look() {
				switch {
				case f.Level == OK:
				case f.Check == tc.check && strings.Contains(f.Message, tc.want):
					seen = true
					if f.Level != tc.level || !strings.Contains(f.Do, tc.do) || (f.Level != Unknown && f.Do == "") {
						t.Errorf("wanted %s and %q, found %s and %q", tc.level, tc.do, f.Level, f.Do)
					}
				case f.Check != tc.check && f.Check != tc.also:
					t.Errorf("found besides: %s: %s %s", f.Check, f.Level, f.Message)
				}
			}
			if !seen {
				t.Errorf("wanted %s: %q, found %+v", tc.check, tc.want, slices.DeleteFunc(s.look(), func(f Finding) bool { return f.Level == OK }))
			}
		})
	}
}

func rule(group, resource, verb string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
}

func TestAReplicationControllerMakesPods(t *testing.T) {
	s := well(t)
	spec := s.pod().Spec
	s.pod().OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicationController", Name: "cart", UID: "rc", Controller: new(true)}}
	s.objects = append(s.objects, &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "rc"}, Spec: corev1.ReplicationControllerSpec{Template: &corev1.PodTemplateSpec{Spec: spec}},
	})
	for _, f := range s.look() {
		if f.Level != OK {
			t.Errorf("%s: %s", f.Check, f.Message)
		}
	}
	s.pod().Spec.HostNetwork = true
	if !slices.ContainsFunc(s.look(), func(f Finding) bool {
		return f.Check == "pods" && strings.Contains(f.Message, "ReplicationController cart")
	}) {
		t.Error("wanted a pod that is not as its ReplicationController says to be found")
	}
}

func TestTheWorstFindingCounts(t *testing.T) {
	for want, levels := range map[Level][]Level{
		OK: nil, Warning: {OK, Warning, OK}, Unknown: {Warning, Unknown, OK}, Failed: {Failed, Unknown, Warning},
	} {
		var findings []Finding
		for _, l := range levels {
			findings = append(findings, Finding{Level: l})
		}
		if got := Worst(findings); got != want {
			t.Errorf("%v: wanted %s, found %s", levels, want, got)
		}
	}
}
