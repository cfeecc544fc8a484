package suite_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/cmd/tidegate/internal/suite"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// imported judges each case twice, by the constraint and by the DeployPolicy that it
// becomes, and finds them equal.
type imported struct {
	*testing.T
	compared int
	// left are the cases that cannot be imported, by why.
	left map[string]int
}

func (i *imported) Judge(ctx context.Context, s *suite.Subject) ([]string, error) {
	template, err := gatekeeper.Compiler{PreferRego: true}.Compile(context.Background(), s.Template)
	if err != nil {
		return nil, err
	}
	p, _, err := template.Import(s.Constraint)
	if err != nil {
		_, why, _ := strings.Cut(err.Error(), ": ")
		i.left[why]++
		return suite.Here{}.Judge(ctx, s)
	}
	if s.Constraint.GetKind() == "WhoWhat" {
		// It lists the fields of the request, of which DeployPolicies see fewer.
		return suite.Here{}.Judge(ctx, s)
	}
	for _, request := range s.Requests() {
		// Policies are asked about what is in a namespace that is known.
		switch {
		case slices.Contains([]string{"Node", "Namespace"}, request.Kind.Kind):
			continue
		case request.Namespace == "":
			request.Namespace = "default"
		}
		judged, err := s.Webhook(ctx, request)
		if err != nil {
			return nil, err
		}
		want := suite.Messages(judged)
		policy, err := eval.Compile(eval.FromDeployPolicy(p))
		if err != nil {
			return nil, err
		}
		r := eval.Request{
			UID: string(request.UID), Kind: eval.GroupKind(request.Kind), Resource: eval.GroupResource(request.Resource),
			SubResource: request.SubResource, Name: request.Name, Namespace: request.Namespace, Operation: string(request.Operation),
			UserInfo: eval.UserInfo{Username: request.UserInfo.Username, UID: request.UserInfo.UID, Groups: request.UserInfo.Groups},
			Object:   request.Object.Raw, OldObject: request.OldObject.Raw, DryRun: *request.DryRun,
		}
		in, err := eval.RequestInput(v1alpha1.AtAdmission, r)
		if err != nil {
			return nil, err
		}
		q := eval.Question{Moment: v1alpha1.AtAdmission, Group: request.Kind.Group, Kind: request.Kind.Kind, Namespace: request.Namespace, Operation: string(request.Operation), Input: in}
		for _, u := range s.Inventory {
			if ns := new(corev1.Namespace); u.GetKind() == "Namespace" && u.GetName() == request.Namespace {
				raw, err := json.Marshal(u)
				if err != nil || json.Unmarshal(raw, ns) != nil {
					return nil, errors.Join(err, errors.New("a namespace that is none"))
				}
				q.NamespaceLabels = labels.Set(ns.Labels)
			}
		}
		verdict := eval.NewSet(policy).Judge(ctx, q)
		found := []string{}
		for _, v := range slices.Concat(verdict.Denials, verdict.Warnings, verdict.Dryrun) {
			found = append(found, v.Message)
		}
		slices.Sort(found)
		slices.Sort(want)
		for n := range found {
			// These write large numbers out.
			found[n] = strings.Replace(found[n], "size is 1000000", "size is 1e+06", 1)
		}
		if slices.ContainsFunc(want, func(m string) bool {
			return strings.Contains(m, "missing Namespace") || strings.Contains(m, "eval_conflict_error")
		}) {
			if len(found) == 0 {
				i.Errorf("%s: wanted a violation, found none", s.Constraint.GetName())
			}
			continue
		}
		if d := cmp.Diff(want, found); d != "" {
			i.Errorf("%s %s as %s (-constraint +policy):\n%s\n%s", s.Constraint.GetKind(), s.Constraint.GetName(), request.Operation, d, p.Spec.Rego)
		}
		i.compared++
	}
	return suite.Here{}.Judge(ctx, s)
}

func TestImportedPoliciesSayTheSame(t *testing.T) {
	dirs := []string{good + "/..."}
	if dir := os.Getenv(libraryEnv); dir != "" {
		dirs = append(dirs, dir+"/...")
	}
	i := &imported{T: t, left: map[string]int{}}
	for _, dir := range dirs {
		_, wrong, _ := runAll(t, dir, i)
		for _, r := range wrong {
			t.Errorf("%s: %s: %s: %s", r.File, r.Test, r.Case, r.Error)
		}
	}
	if i.compared < 100 {
		t.Errorf("compared only %d answers", i.compared)
	}
	t.Logf("compared %d answers; left out %v", i.compared, i.left)
}
