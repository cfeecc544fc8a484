package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

// Result is what came of one case. The names of its fields are an interface.
type Result struct {
	Suite string `json:"suite"`
	Test  string `json:"test"`
	Case  string `json:"case"`
	Pass  bool   `json:"pass"`
	// Violations are the messages.
	Violations []string `json:"violations"`
	// Error is why the case does not pass; empty where it does.
	Error string `json:"error"`
	// File is the path of the suite.
	File    string `json:"file"`
	Skipped bool   `json:"skipped,omitempty"`
}

// Judge is whoever answers a review by a Subject. An error that is ErrUnreachable ends the
// run, any other fails the case.
type Judge interface {
	Judge(ctx context.Context, s *Subject) ([]string, error)
}

// ErrUnreachable marks an answer that says nothing about the case, since there was none.
var ErrUnreachable = errors.New("the server gave no answer")

// Subject is what a case is about, read and compiled.
type Subject struct {
	Template, Constraint *unstructured.Unstructured
	Inventory            []*unstructured.Unstructured
	// Object is what is reviewed; Request is set instead where the case says a request.
	Object  *unstructured.Unstructured
	Request *admissionv1.AdmissionRequest

	compiled  *gatekeeper.Constraint
	expansion *gatekeeper.Expansion
	check     func(messages []string) error
}

// Check judges messages by the assertions of the case.
func (s *Subject) Check(messages []string) error { return s.check(messages) }

// Run runs a suite. Each result is given to report as soon as there is one. The error is
// one that ended the run.
func (s *Suite) Run(ctx context.Context, judge Judge, report func(Result)) error {
	for i := range s.Tests {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("running the suites: %w", err)
		}
		if err := s.test(ctx, &s.Tests[i], judge, report); err != nil {
			return err
		}
	}
	return nil
}

func (s *Suite) path(name string) string { return filepath.Join(filepath.Dir(s.Path), name) }

func (s *Suite) test(ctx context.Context, t *Test, judge Judge, report func(Result)) error {
	result := func(name string) Result {
		return Result{Suite: s.Name, Test: t.Name, Case: name, File: s.Path, Violations: []string{}}
	}
	if s.Skip || t.Skip {
		r := result("")
		r.Pass, r.Skipped = true, true
		if len(t.Cases) == 0 {
			report(r)
		}
		for _, c := range t.Cases {
			r.Case = c.Name
			report(r)
		}
		return nil
	}
	base, err := s.subject(ctx, t)
	if t.Invalid {
		r := result("")
		switch {
		case errors.Is(err, gatekeeper.ErrSchema):
			r.Pass = true
		case err == nil:
			r.Error = "wanted a constraint that fails the schema of its template, found one that fits"
		default:
			r.Error = fmt.Sprintf("wanted a constraint that fails the schema of its template, found: %v", err)
		}
		report(r)
		return nil
	}
	if err != nil && len(t.Cases) == 0 {
		r := result("")
		r.Error = err.Error()
		report(r)
	}
	for i := range t.Cases {
		c := &t.Cases[i]
		r := result(c.Name)
		switch {
		case c.Skip:
			r.Pass, r.Skipped = true, true
		case err != nil:
			r.Error = err.Error()
		default:
			if stop := s.run(ctx, base, c, judge, &r); stop != nil {
				return stop
			}
		}
		report(r)
	}
	return nil
}

// subject reads what all cases of a test share.
func (s *Suite) subject(ctx context.Context, t *Test) (*Subject, error) {
	if t.Template == "" {
		return nil, fmt.Errorf("template: %w", errNoPath)
	}
	template, err := one(s.path(t.Template))
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	compiled, err := s.Compiler.Compile(ctx, template)
	if err != nil {
		return nil, err
	}
	if t.Constraint == "" {
		return nil, fmt.Errorf("constraint: %w", errNoPath)
	}
	constraint, err := one(s.path(t.Constraint))
	if err != nil {
		return nil, fmt.Errorf("constraint: %w", err)
	}
	base := &Subject{Template: template, Constraint: constraint}
	if base.compiled, err = compiled.Constraint(constraint); err != nil {
		return nil, err
	}
	if t.Expansion != "" {
		templates, err := Objects(s.path(t.Expansion))
		if err != nil {
			return nil, fmt.Errorf("expansion: %w", err)
		}
		if base.expansion, err = gatekeeper.NewExpansion(templates...); err != nil {
			return nil, fmt.Errorf("expansion: %w", err)
		}
	}
	return base, nil
}

// run fills in the result of a case.
func (s *Suite) run(ctx context.Context, base *Subject, c *Case, judge Judge, r *Result) error {
	subject, err := s.read(base, c)
	if err == nil {
		r.Violations, err = judge.Judge(ctx, subject)
		if errors.Is(err, ErrUnreachable) {
			return err
		}
		if r.Violations == nil {
			r.Violations = []string{}
		}
	}
	if err == nil {
		err = c.check(r.Violations)
	}
	if r.Pass = err == nil; !r.Pass {
		r.Error = err.Error()
	}
	return nil
}

func (s *Suite) read(base *Subject, c *Case) (*Subject, error) {
	if c.Object == "" {
		return nil, fmt.Errorf("object: %w", errNoPath)
	}
	if len(c.Assertions) == 0 {
		return nil, errNoAssertions
	}
	subject := *base
	subject.check = c.check
	object, err := one(s.path(c.Object))
	if err != nil {
		return nil, fmt.Errorf("object: %w", err)
	}
	for _, name := range c.Inventory {
		objects, err := Objects(s.path(name))
		if err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		subject.Inventory = append(subject.Inventory, objects...)
	}
	if object.GetKind() != "AdmissionReview" || object.GroupVersionKind().Group != admissionv1.GroupName {
		subject.Object = object
		return &subject, nil
	}
	if subject.Request, err = request(object); err != nil {
		return nil, fmt.Errorf("object: %w", err)
	}
	return &subject, nil
}

// request reads an AdmissionReview. An unknown field is an error, since it would be
// something that the case does not test.
func request(u *unstructured.Unstructured) (*admissionv1.AdmissionRequest, error) {
	var review admissionv1.AdmissionReview
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &review, true); err != nil {
		return nil, fmt.Errorf("wanted an AdmissionReview, found: %w", err)
	}
	q := review.Request
	if q == nil {
		return nil, errors.New("request: wanted a request, found nothing")
	}
	if q.Object.Raw == nil && q.OldObject.Raw == nil {
		return nil, errors.New("request: wanted object or oldObject, found neither")
	}
	for name, raw := range map[string][]byte{"object": q.Object.Raw, "oldObject": q.OldObject.Raw} {
		if raw == nil {
			continue
		}
		if err := new(unstructured.Unstructured).UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("request.%s: %w", name, err)
		}
	}
	return q, nil
}

// Here judges in this process.
type Here struct{}

// Judge implements Judge.
func (Here) Judge(ctx context.Context, s *Subject) ([]string, error) {
	set, err := s.set()
	if err != nil {
		return nil, err
	}
	review, err := s.review()
	if err != nil {
		return nil, err
	}
	found := set.Judge(ctx, review)
	if s.expansion != nil && s.Object != nil {
		implied, err := s.implied(ctx, set)
		if err != nil {
			return nil, err
		}
		found = append(found, implied...)
	}
	return Messages(found), nil
}

func (s *Subject) set() (*gatekeeper.Set, error) {
	var inventory gatekeeper.Inventory
	for _, u := range s.Inventory {
		if err := inventory.Put(u); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
	}
	return gatekeeper.NewSet(&inventory, s.compiled), nil
}

func (s *Subject) review() (*gatekeeper.Review, error) {
	if s.Request == nil {
		return gatekeeper.ObjectReview(s.Object.Object)
	}
	review, err := gatekeeper.NewReview(s.Request)
	if err != nil {
		return nil, err
	}
	review.Point, review.Source = gatekeeper.PointGator, gatekeeper.SourceOriginal
	return review, nil
}

// implied asks about the objects that are made of the case's object.
func (s *Subject) implied(ctx context.Context, set *gatekeeper.Set) ([]gatekeeper.Violation, error) {
	generated, err := s.expansion.Expand(s.Object)
	if err != nil {
		return nil, err
	}
	var out []gatekeeper.Violation
	for _, g := range generated {
		review, err := gatekeeper.ObjectReview(g.Object.Object)
		if err != nil {
			return nil, fmt.Errorf("expanding %s: %w", s.Object.GetName(), err)
		}
		review.Source = gatekeeper.SourceGenerated
		out = append(out, g.Imply(set.Judge(ctx, review))...)
	}
	return out, nil
}

// Messages returns the messages in a stable order.
func Messages(list []gatekeeper.Violation) []string {
	list = slices.SortedStableFunc(slices.Values(list), func(a, b gatekeeper.Violation) int {
		return cmp.Or(slices.Compare(a.Actions, b.Actions), strings.Compare(a.Message, b.Message))
	})
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, v.Message)
	}
	return out
}
