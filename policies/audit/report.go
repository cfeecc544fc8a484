package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// Source is what reports say made them.
	Source = "tidegate"
	// Label marks the reports of the audit; its value is the word audit.
	Label = "tidegate.io/report"
	// LabelValue is the value of Label.
	LabelValue = "audit"
	// AnnotationPart says which objects a report is about, as resource.group.
	AnnotationPart = "tidegate.io/audited"
	// category is the same for all results of the audit itself.
	category = "Managed flow"
	// ownPolicy stands in results where no policy objects: the formats want one.
	ownPolicy = "tidegate"

	// MaxResults is how many results one report holds; further ones go into another report.
	MaxResults = 400
	// MaxBytes is how many bytes of messages one report holds. An object of the API server may
	// have 1.5 MiB.
	MaxBytes = 512 << 10
)

// API is a format of reports.
type API struct {
	Group, Version string
	// Kind is that of reports in a namespace, ClusterKind of those in none.
	Kind, ClusterKind string
	// named says that a report has its source beside its results too.
	named bool
}

// APIs are the formats, the preferred one first.
func APIs() []API {
	return []API{
		{Group: "openreports.io", Version: "v1alpha1", Kind: "Report", ClusterKind: "ClusterReport", named: true},
		{Group: "wgpolicyk8s.io", Version: "v1alpha2", Kind: "PolicyReport", ClusterKind: "ClusterPolicyReport"},
	}
}

// GroupVersion is that of its kinds.
func (a API) GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: a.Group, Version: a.Version}
}

// KindIn is the kind of a report in a namespace; that is empty for none.
func (a API) KindIn(namespace string) string {
	if namespace == "" {
		return a.ClusterKind
	}
	return a.Kind
}

// Part is the objects of one kind in one namespace, which have reports of their own, so
// that a change of one is no write of all.
type Part struct {
	// Namespace is empty for objects that are in none.
	Namespace string
	Group     string
	// Resource is the plural; "incomplete" is about what could not be looked at.
	Resource string
}

// Incomplete is the part of a namespace that says what could not be looked at.
func Incomplete(namespace string) Part {
	return Part{Namespace: namespace, Resource: "incomplete"}
}

// Summary is the report that says that the audit has run, and what it found in all.
func Summary() Part { return Part{Resource: "summary"} }

// String is resource.group.
func (p Part) String() string {
	if p.Group == "" {
		return p.Resource
	}
	return p.Resource + "." + p.Group
}

// Name is that of a report: number counts from 1. The number stands before the resource,
// which begins with a letter, so that no two are the same.
func (p Part) Name(number int) string {
	if number > 1 {
		return "tidegate-" + strconv.Itoa(number) + "-" + p.String()
	}
	return "tidegate-" + p.String()
}

// Buffer gathers the findings of one report.
type Buffer struct {
	Findings []Finding
	bytes    int
}

// Full says whether findings more would be too much for one report. The first ones always fit.
func (b *Buffer) Full(more []Finding) bool {
	return len(b.Findings) > 0 && (len(b.Findings)+len(more) > MaxResults || b.bytes+size(more) > MaxBytes)
}

// Add adds findings.
func (b *Buffer) Add(more []Finding) {
	b.Findings = append(b.Findings, more...)
	b.bytes += size(more)
}

// Take returns what is gathered and begins anew.
func (b *Buffer) Take() []Finding {
	out := b.Findings
	b.Findings, b.bytes = nil, 0
	return out
}

func size(list []Finding) int {
	n := 0
	for _, f := range list {
		// The rest is names.
		n += escaped(f.Message) + escaped(f.Fix) + 512
	}
	return n
}

// escaped is how many bytes a text may have in JSON.
func escaped(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '<' || c == '>' || c == '&':
			n += 5
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}

// Split cuts the findings of one object into pieces of which each fits into a report.
func Split(list []Finding) [][]Finding {
	var out [][]Finding
	var b Buffer
	for _, f := range list {
		if one := []Finding{f}; b.Full(one) {
			out = append(out, b.Take())
		}
		b.Add([]Finding{f})
	}
	if len(b.Findings) > 0 {
		out = append(out, b.Take())
	}
	return out
}

// Report is one report, without what the API server adds. Owners are those of the object.
func (a API) Report(p Part, number int, owners []any, findings []Finding) map[string]any {
	metadata := map[string]any{
		"name":        p.Name(number),
		"labels":      map[string]any{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, Label: LabelValue},
		"annotations": map[string]any{AnnotationPart: p.String()},
	}
	if p.Namespace != "" {
		metadata["namespace"] = p.Namespace
	}
	if len(owners) > 0 {
		metadata["ownerReferences"] = owners
	}
	counts := map[Result]int64{}
	results := make([]any, 0, len(findings))
	for _, f := range findings {
		counts[f.Result]++
		results = append(results, result(f))
	}
	out := map[string]any{
		"apiVersion": a.GroupVersion().String(),
		"kind":       a.KindIn(p.Namespace),
		"metadata":   metadata,
		"summary":    summary(counts),
	}
	if len(results) > 0 {
		out["results"] = results
	}
	if a.named {
		out["source"] = Source
	}
	return out
}

// Total is the report that sums up all others.
func (a API) Total(counts map[Result]int64) map[string]any {
	out := a.Report(Summary(), 1, nil, nil)
	out["summary"] = summary(counts)
	return out
}

func summary(counts map[Result]int64) map[string]any {
	return map[string]any{"pass": int64(0), "fail": counts[Fail], "warn": counts[Warn], "error": counts[Errored], "skip": int64(0)}
}

// result is a finding as a report has it. There is no time in it: a report that says the
// same as before is not written again.
func result(f Finding) map[string]any {
	policy, properties := f.Policy, map[string]any{}
	if policy == "" {
		policy = ownPolicy
		properties["origin"] = "audit"
	}
	if f.Fix != "" {
		properties["fix"] = f.Fix
	}
	if f.Enforcement != "" {
		properties["enforcement"] = string(f.Enforcement)
	}
	out := map[string]any{
		"source": Source, "policy": policy, "rule": f.Code, "category": category, "result": string(f.Result), "severity": severity(f), "message": f.Message,
	}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	subject := map[string]any{"apiVersion": f.Object.APIVersion, "kind": f.Object.Kind, "name": f.Object.Name}
	if f.Object.Namespace != "" {
		subject["namespace"] = f.Object.Namespace
	}
	if f.Object.UID != "" {
		subject["uid"] = f.Object.UID
	}
	out["resources"] = []any{subject}
	return out
}

func severity(f Finding) string {
	switch {
	case f.Enforcement == v1alpha1.EnforcementDryrun:
		return "info"
	case f.Result == Warn:
		return "medium"
	}
	return "high"
}

// Read returns the findings of a report of the audit.
func Read(report map[string]any) ([]Finding, error) {
	raw, err := json.Marshal(report["results"])
	if err != nil {
		return nil, fmt.Errorf("reading the results of a report: %w", err)
	}
	var list []struct {
		Policy     string            `json:"policy"`
		Rule       string            `json:"rule"`
		Message    string            `json:"message"`
		Result     Result            `json:"result"`
		Properties map[string]string `json:"properties"`
		Resources  []Object          `json:"resources"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("reading the results of a report: %w", err)
	}
	out := make([]Finding, 0, len(list))
	for _, r := range list {
		if len(r.Resources) != 1 || !slices.Contains(Results(), r.Result) {
			return nil, fmt.Errorf("wanted results about one object each, with one of %v, found %q with %d", Results(), r.Result, len(r.Resources))
		}
		f := Finding{
			Object: r.Resources[0], Policy: r.Policy, Code: r.Rule, Message: r.Message, Result: r.Result,
			Fix: r.Properties["fix"], Enforcement: v1alpha1.Enforcement(r.Properties["enforcement"]),
		}
		if r.Properties["origin"] != "" {
			f.Policy = ""
		}
		out = append(out, f)
	}
	return out, nil
}

// Same says whether a report is there as it is wanted. What the API server, or others, add
// is no difference; what is missing, other results and other counts are.
func Same(have, want map[string]any) bool {
	h, _ := have["metadata"].(map[string]any)
	w, _ := want["metadata"].(map[string]any)
	for _, key := range []string{"labels", "annotations"} {
		if !covers(h[key], w[key]) {
			return false
		}
	}
	for _, key := range []string{"summary", "results", "source"} {
		if !covers(have[key], want[key]) {
			return false
		}
	}
	return reflect.DeepEqual(h["ownerReferences"], w["ownerReferences"])
}

// covers says whether a value has all that is wanted; lists have nothing else.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		for k, v := range want {
			ok = ok && covers(h[k], v)
		}
		return ok
	case []any:
		h, ok := have.([]any)
		ok = ok && len(h) == len(want)
		for i := range want {
			ok = ok && covers(h[i], want[i])
		}
		return ok
	case nil:
		list, _ := have.([]any)
		return have == nil || (list != nil && len(list) == 0)
	}
	return have == want
}
