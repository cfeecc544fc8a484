package command

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// serving is what a cluster says that serves this and nothing else; the kinds of the scheme are
// known without asking.
func serving(gv schema.GroupVersion, kind string) meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{gv})
	mapper.Add(gv.WithKind(kind), meta.RESTScopeNamespace)
	return mapper
}

// withReports is a cluster that serves OpenReports and has these.
func withReports(t *testing.T, reports ...map[string]any) *world {
	t.Helper()
	w := newWorld(t, interceptor.Funcs{})
	s := newScheme(t)
	if err := openreports.Install(s); err != nil {
		t.Fatal(err)
	}
	api := audit.APIs()[0]
	b := fake.NewClientBuilder().WithScheme(s).WithRESTMapper(serving(api.GroupVersion(), api.Kind))
	for _, name := range []string{"shop", "lab"} {
		b = b.WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, r := range reports {
		b = b.WithObjects(&unstructured.Unstructured{Object: r})
	}
	w.client = b.Build()
	return w
}

// audited are the reports of an audit with one finding of each result.
func audited(results ...audit.Result) []map[string]any {
	api := audit.APIs()[0]
	out := []map[string]any{api.Total(nil)}
	object := audit.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	var findings []audit.Finding
	for _, r := range results {
		findings = append(findings, audit.Finding{Object: object, Policy: "probes", Code: "TG-PROBE", Message: "no probe: " + string(r), Fix: "add one", Result: r, Enforcement: v1alpha1.EnforcementDeny})
	}
	if len(findings) > 0 {
		out = append(out, api.Report(audit.Part{Namespace: "shop", Group: "apps", Resource: "deployments"}, 1, nil, findings))
	}
	return out
}

func TestAuditReadsTheReports(t *testing.T) {
	for name, tc := range map[string]struct {
		reports []map[string]any
		args    []string
		code    int
		out     []string
		err     string
	}{
		"nothing was found":               {audited(), nil, 0, []string{"0 findings: 0 fail, 0 warn, 0 could not be judged\n"}, ""},
		"warnings fail nothing":           {audited(audit.Warn), nil, 0, []string{"warn    TG-PROBE  probes  Deployment shop/web\n", "1 findings: 0 fail, 1 warn"}, ""},
		"what would be refused":           {audited(audit.Fail, audit.Errored), nil, 1, []string{"Deployment shop/web: fail: TG-PROBE\n  no probe: fail; do: add one\n"}, ""},
		"what could not be judged":        {audited(audit.Errored), nil, 2, []string{"1 could not be judged"}, ""},
		"another namespace":               {audited(audit.Fail), []string{"-n", "lab"}, 0, []string{"0 findings"}, ""},
		"the same namespace":              {audited(audit.Fail), []string{"-n", "shop"}, 1, []string{"1 findings"}, ""},
		"a namespace that is misspelt":    {audited(audit.Fail), []string{"-n", "shpo"}, 2, nil, "wanted namespace \"shpo\", found none"},
		"one that is, looked at now":      {audited(audit.Fail), []string{"-n", "shpo", "--now"}, 2, nil, "wanted namespace \"shpo\", found none"},
		"no audit ran, which is not well": {nil, nil, 2, nil, "wanted the report tidegate-summary"},
		"an unknown form":                 {audited(), []string{"-o", "xml"}, 2, nil, "wanted one of table, json"},
		"what the reports cannot say":     {audited(), []string{"--ungoverned"}, 2, nil, "wanted --ungoverned with --now"},
		"JSON":                            {audited(audit.Fail), []string{"-o", "json"}, 1, []string{`"file": "shop/deployment/web"`, `"severity": "error"`}, ""},
		"JUnit names what looked":         {audited(audit.Fail), []string{"-o", "junit"}, 1, []string{`<testsuites name="tidegate audit" tests="1" failures="1"`}, ""},
		"SARIF":                           {audited(audit.Warn), []string{"-o", "sarif"}, 0, []string{`"level": "warning"`}, ""},
		"annotations of GitHub":           {audited(audit.Fail), []string{"-o", "github"}, 1, []string{"::error file=shop/deployment/web,"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := withReports(t, tc.reports...)
			w.wantCode(w.run(t.Context(), append([]string{"audit"}, tc.args...)...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out...)
			wantPart(t, "err", w.err.String(), tc.err)
		})
	}
}

func TestAuditWithoutReportsSaysWhatToDo(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "audit"), 2)
	wantPart(t, "err", w.err.String(), "the cluster serves neither", "do: tidegate audit --now")
}

func TestAuditNowLooksAndWritesNothing(t *testing.T) {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}},
		&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "prod", CreationTimestamp: metav1.NewTime(noon)}, Spec: v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}}},
		&v1alpha1.DeployPolicy{ObjectMeta: metav1.ObjectMeta{Name: "strict"}, Spec: v1alpha1.DeployPolicySpec{
			Rego: "package p\n\ndeny contains \"no\"\n", Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"Deployment"}}}},
		}},
	}
	for _, namespace := range []string{"shop", "lab"} {
		objects = append(objects, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web", CreationTimestamp: metav1.NewTime(noon.AddDate(-1, 0, 0))}})
	}
	refuse := errors.New("nothing is to be written")
	w := newWorld(t, interceptor.Funcs{})
	w.client = fake.NewClientBuilder().WithScheme(newScheme(t)).WithRESTMapper(serving(appsv1.SchemeGroupVersion, "Deployment")).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return refuse },
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return refuse },
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return refuse },
	}).Build()
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"all that is governed":          {nil, []string{"shop/web TG-AUDIT-OLDER", "shop/web TG-POLICY-DENY"}},
		"one namespace":                 {[]string{"-n", "shop"}, []string{"shop/web TG-AUDIT-OLDER", "shop/web TG-POLICY-DENY"}},
		"one that is not governed":      {[]string{"-n", "lab"}, nil},
		"one that is not, all the same": {[]string{"-n", "lab", "--ungoverned"}, []string{"lab/web TG-POLICY-DENY"}},
	} {
		t.Run(name, func(t *testing.T) {
			code := 0
			if len(tc.want) > 0 {
				code = 1
			}
			w.wantCode(w.run(t.Context(), append([]string{"audit", "--now", "-o", "json"}, tc.args...)...), code)
			var report struct {
				Objects []struct {
					Namespace, Name string
					Findings        []struct{ Code string }
				}
			}
			if err := json.Unmarshal(w.out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range report.Objects {
				for _, f := range o.Findings {
					got = append(got, o.Namespace+"/"+o.Name+" "+f.Code)
				}
			}
			wantText(t, "findings", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
		})
	}
}
