package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var (
	noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	web  = audit.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", UID: "1"}
)

func TestBypass(t *testing.T) {
	younger, older := noon.Add(time.Hour), noon.Add(-time.Hour)
	for name, tc := range map[string]struct {
		facts  audit.Facts
		code   string
		result audit.Result
		part   string
	}{
		"what a Rollout renders is well":                      {audit.Facts{Created: older, Backing: audit.BackingRollout}, "", "", ""},
		"what cannot be found out is not held against anyone": {audit.Facts{Created: older, Backing: audit.BackingUnknown}, "", "", ""},
		"an unknown origin is not either":                     {audit.Facts{Created: older, Derived: true}, "", "", ""},
		"what nobody renders came around the gate":            {audit.Facts{Created: younger, Backing: audit.BackingNone}, audit.ReasonUnmanaged, audit.Fail, "Gate \"prod\" is older"},
		"a label proves nothing":                              {audit.Facts{Created: younger, Backing: audit.BackingNone, Release: "cart"}, audit.ReasonUnmanaged, audit.Fail, "though its label names Release \"cart\""},
		"what is older than the Gate was never admitted":      {audit.Facts{Created: older, Backing: audit.BackingNone}, audit.ReasonOlder, audit.Fail, "never admitted"},
		"what other writers may have made is a warning":       {audit.Facts{Created: younger, Backing: audit.BackingNone, Writers: true}, audit.ReasonUnmanaged, audit.Warn, "spec.writers"},
		"writers are no excuse for what is older":             {audit.Facts{Created: older, Backing: audit.BackingNone, Writers: true}, audit.ReasonOlder, audit.Fail, ""},
		"a recorded exemption is a warning":                   {audit.Facts{Created: younger, Backing: audit.BackingNone, BreakGlass: "fire"}, audit.ReasonUnmanaged, audit.Warn, "BreakGlass \"fire\""},
		"a workload that differs":                             {audit.Facts{Backing: audit.BackingRollout, Release: "cart", Differences: []string{"spec.x: y"}}, audit.ReasonDrift, audit.Fail, "spec.x: y"},
		"one that differs by an exemption":                    {audit.Facts{Backing: audit.BackingRollout, BreakGlass: "fire", Differences: []string{"spec.x: y"}}, audit.ReasonDrift, audit.Warn, "fire"},
		"a static pod, whatever owns it":                      {audit.Facts{Static: true, Derived: true, Origin: audit.OriginManaged}, audit.ReasonStaticPod, audit.Fail, "static pod"},
		"a pod of a managed workload":                         {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginManaged}, "", "", ""},
		"a pod of nobody":                                     {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginNone}, audit.ReasonPodOwner, audit.Fail, "no owner"},
		"a pod of nobody that is older than the Gate":         {audit.Facts{Created: older, Derived: true, Origin: audit.OriginNone}, audit.ReasonOlder, audit.Fail, "no owner"},
		"a pod whose owner is gone":                           {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginGone, Owner: "ReplicaSet x"}, audit.ReasonPodOwner, audit.Fail, "ReplicaSet x is not there"},
		"a pod of a foreign kind":                             {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginForeign, Owner: "Robot r"}, audit.ReasonPodOwner, audit.Fail, "Robot r"},
		"a pod of an unmanaged workload":                      {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginUnmanaged, Owner: "Deployment d"}, audit.ReasonPodOwner, audit.Fail, "Deployment d"},
		"a ReplicaSet in between is left to its workload":     {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginUnmanaged, Object: audit.Object{Kind: "ReplicaSet"}}, "", "", ""},
		"a pod that has ended runs nothing":                   {audit.Facts{Created: younger, Derived: true, Origin: audit.OriginNone, Over: true}, "", "", ""},
		"a static pod that has ended will be started again":   {audit.Facts{Static: true, Over: true}, audit.ReasonStaticPod, audit.Fail, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.facts.Gate, tc.facts.GateFrom = "prod", noon
			if tc.facts.Object.Kind == "" {
				tc.facts.Object = web
			}
			if tc.facts.Derived && tc.facts.Object == web {
				tc.facts.Object.Kind = "Pod"
			}
			got := audit.Bypass(tc.facts)
			if got == nil {
				if tc.code != "" {
					t.Errorf("wanted %s, got nothing", tc.code)
				}
				return
			}
			if got.Code != tc.code || got.Result != tc.result || !strings.Contains(got.Message, tc.part) || got.Object != tc.facts.Object || got.Fix == "" {
				t.Errorf("wanted %s %s with %q, got %+v", tc.result, tc.code, tc.part, got)
			}
		})
	}
}

// finding is the n-th of many.
func finding(n int) audit.Finding {
	o := web
	o.Name = fmt.Sprintf("web-%05d", n)
	return audit.Finding{Object: o, Policy: "p", Code: "TG-X", Message: "m", Fix: "f", Result: audit.Fail, Enforcement: v1alpha1.EnforcementDeny}
}

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	findings := []audit.Finding{
		finding(1),
		{Object: audit.Object{APIVersion: "v1", Kind: "Namespace", Name: "x"}, Code: audit.ReasonIncomplete, Message: "m", Result: audit.Errored},
		{Object: web, Policy: "q", Code: "C", Message: "m", Result: audit.Warn, Enforcement: v1alpha1.EnforcementDryrun},
	}
	for _, api := range audit.APIs() {
		got, err := audit.Read(stored(t, api.Report(audit.Part{Namespace: "shop", Group: "apps", Resource: "deployments"}, 1, nil, findings)))
		if err != nil || !slices.Equal(got, findings) {
			t.Errorf("%s: wanted %+v, got %+v, %v", api.Group, findings, got, err)
		}
	}
	if _, err := audit.Read(map[string]any{"results": []any{map[string]any{"policy": "x", "result": "fail"}}}); err == nil {
		t.Error("a result about nothing was read")
	}
}

// stored is a report as an API server gives it back.
func stored(t *testing.T, report map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	// Whole numbers come back as such.
	for k, v := range out["summary"].(map[string]any) {
		out["summary"].(map[string]any)[k] = int64(v.(float64))
	}
	return out
}

func TestReportsHaveTheFieldsOfOpenReports(t *testing.T) {
	api := audit.APIs()[0]
	raw, err := json.Marshal(api.Report(audit.Part{Namespace: "shop", Resource: "pods"}, 2, nil, []audit.Finding{finding(1)}))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var r openreports.Report
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Summary.Fail != 1 || len(r.Results) != 1 || r.Results[0].Subjects[0].Name != "web-00001" || r.Results[0].Description != "m" || r.Source != "tidegate" {
		t.Errorf("got %+v", r)
	}
	if r.Name != "tidegate-2-pods" || r.Kind != "Report" || r.APIVersion != "openreports.io/v1alpha1" {
		t.Errorf("got %s %s %s", r.APIVersion, r.Kind, r.Name)
	}
}

func TestSame(t *testing.T) {
	api, part := audit.APIs()[0], audit.Part{Namespace: "shop", Resource: "pods"}
	owners := []any{map[string]any{"kind": "Gate", "name": "prod", "uid": "1"}}
	report := func() map[string]any { return api.Report(part, 1, owners, []audit.Finding{finding(1), finding(2)}) }
	for name, tc := range map[string]struct {
		change func(have map[string]any)
		same   bool
	}{
		"what is there as wanted":           {func(map[string]any) {}, true},
		"what the API server adds":          {func(r map[string]any) { r["metadata"].(map[string]any)["uid"] = "u" }, true},
		"a label of somebody's":             {func(r map[string]any) { r["metadata"].(map[string]any)["labels"].(map[string]any)["x"] = "y" }, true},
		"a label that somebody took":        {func(r map[string]any) { delete(r["metadata"].(map[string]any)["labels"].(map[string]any), audit.Label) }, false},
		"an owner that somebody took":       {func(r map[string]any) { delete(r["metadata"].(map[string]any), "ownerReferences") }, false},
		"a result that somebody took":       {func(r map[string]any) { r["results"] = r["results"].([]any)[:1] }, false},
		"a message that somebody changed":   {func(r map[string]any) { r["results"].([]any)[0].(map[string]any)["message"] = "fine" }, false},
		"a count that somebody changed":     {func(r map[string]any) { r["summary"].(map[string]any)["fail"] = int64(0) }, false},
		"a time of somebody's":              {func(r map[string]any) { r["results"].([]any)[0].(map[string]any)["timestamp"] = map[string]any{} }, true},
		"results that are not there at all": {func(r map[string]any) { delete(r, "results") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			have := report()
			tc.change(have)
			if got := audit.Same(have, report()); got != tc.same {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSplitKeepsEveryFindingInReportsOfBoundedSize(t *testing.T) {
	var all []audit.Finding
	for n := range 2*audit.MaxResults + 7 {
		all = append(all, finding(n))
	}
	huge := finding(9)
	huge.Message = strings.Repeat("x", audit.MaxBytes)
	all = append(all, huge, finding(10_000))
	pieces := audit.Split(all)
	if len(pieces) != 5 {
		t.Errorf("wanted 400, 400, 7, the huge one and the rest, got %d pieces", len(pieces))
	}
	var back []audit.Finding
	for _, p := range pieces {
		if len(p) > audit.MaxResults {
			t.Errorf("%d in one report", len(p))
		}
		back = append(back, p...)
	}
	if !slices.Equal(back, all) {
		t.Error("findings were lost, or changed their order")
	}
	if audit.Split(nil) != nil {
		t.Error("nothing is no report")
	}
}

func TestAConstraintSaysNoMoreThanAReportHolds(t *testing.T) {
	long := gatekeeper.Violation{Constraint: gatekeeper.Key{Kind: "K8sLong", Name: "x"}, Message: strings.Repeat("é", 1<<20), Actions: []string{gatekeeper.ActionDeny}}
	brief := long
	brief.Message = "brief"
	got := audit.OfConstraints(audit.Subject{Object: web}, []gatekeeper.Violation{long, brief})
	if len(got) != 2 || got[0].Message != "brief" || got[1].Result != audit.Fail || !strings.HasSuffix(got[1].Message, "é...") {
		t.Fatalf("got %d findings: %.80q", len(got), got)
	}
	if n := len(got[1].Message); n < 8<<10 || n > 8<<10+3 {
		t.Errorf("wanted 8 KiB and dots, found %d bytes", n)
	}
}

func TestReportNamesAreUnique(t *testing.T) {
	seen := map[string]audit.Part{}
	for _, p := range []audit.Part{{Resource: "pods"}, {Resource: "deployments", Group: "apps"}, {Resource: "deployments", Group: "apps-2"}, audit.Summary(), audit.Incomplete("")} {
		for n := 1; n < 4; n++ {
			if other, twice := seen[p.Name(n)]; twice {
				t.Errorf("%v and %v are both %s", p, other, p.Name(n))
			}
			seen[p.Name(n)] = p
		}
	}
}

func TestKinds(t *testing.T) {
	policy := func(at v1alpha1.PolicyMoment, kinds ...v1alpha1.KindMatch) v1alpha1.DeployPolicy {
		return v1alpha1.DeployPolicy{Spec: v1alpha1.DeployPolicySpec{At: []v1alpha1.PolicyMoment{at}, Match: v1alpha1.PolicyMatch{Kinds: kinds}}}
	}
	apps := v1alpha1.KindMatch{Group: "apps", Kinds: []string{"StatefulSet", "Deployment"}}
	for name, tc := range map[string]struct {
		policies []v1alpha1.DeployPolicy
		want     []schema.GroupKind
		any      bool
	}{
		"sorted, each once":              {[]v1alpha1.DeployPolicy{policy(v1alpha1.AtAdmission, apps), policy(v1alpha1.AtRelease, apps)}, []schema.GroupKind{{Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "StatefulSet"}}, false},
		"promotion is about no objects":  {[]v1alpha1.DeployPolicy{policy(v1alpha1.AtPromotion, apps), policy(v1alpha1.AtPromotion)}, nil, false},
		"a wildcard is about any":        {[]v1alpha1.DeployPolicy{policy(v1alpha1.AtAdmission, v1alpha1.KindMatch{Group: "*", Kinds: []string{"Pod"}})}, nil, true},
		"so is one without kinds":        {[]v1alpha1.DeployPolicy{policy(v1alpha1.AtAdmission)}, nil, true},
		"Tidegate's own kinds are apart": {[]v1alpha1.DeployPolicy{policy(v1alpha1.AtAdmission, v1alpha1.KindMatch{Group: "tidegate.io", Kinds: []string{"Release"}})}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, anyKind := audit.Kinds(tc.policies)
			if !slices.Equal(got, tc.want) || anyKind != tc.any {
				t.Errorf("got %v, %v", got, anyKind)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	compile := func(name, rego string, e v1alpha1.Enforcement, at ...v1alpha1.PolicyMoment) *eval.Policy {
		p, err := eval.Compile(eval.Source{Name: name, Rego: rego, Enforcement: e, At: at})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const both = "package p\n\ndeny contains sprintf(\"no hunter2 in %s\", [input.object.metadata.name])\n"
	set := eval.NewSet(
		compile("both", both, v1alpha1.EnforcementDeny, v1alpha1.AtAdmission, v1alpha1.AtRelease),
		compile("warned", "package p\n\nwarn contains \"w\"\n", v1alpha1.EnforcementDeny),
		compile("counted", "package p\n\ndeny contains \"d\"\n", v1alpha1.EnforcementDryrun),
		compile("released", "package p\n\ndeny contains input.release.name\n", v1alpha1.EnforcementDeny, v1alpha1.AtRelease),
		compile("broken", "package p\n\ndeny contains \"x\" if { to_number(input.object.metadata.name) > 0; false }\n", v1alpha1.EnforcementDeny),
	)
	s := audit.Subject{Object: web, Group: "apps", Version: "v1", Resource: "deployments", Raw: json.RawMessage(`{"kind":"Deployment","metadata":{"name":"web"}}`), Mask: secret.New([]string{"hunter2"})}
	s.About = map[string]any{"release": eval.Release{Name: "cart"}}
	var got []string
	for _, f := range audit.Judge(t.Context(), set, s) {
		got = append(got, fmt.Sprintf("%s %s %s: %s", f.Policy, f.Enforcement, f.Result, f.Message))
	}
	want := []string{
		"both deny fail: no (sensitive) in web",
		"broken deny error: wanted a verdict of policy \"broken\", found: evaluating policy \"broken\": broken.rego:3: eval_builtin_error: to_number: strconv.ParseFloat: parsing \"web\": invalid syntax",
		"counted dryrun warn: d",
		"released deny fail: cart",
		"warned warn warn: w",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("wanted\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}
