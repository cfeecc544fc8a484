// Package impact says what another revision of a template would do to the Releases there
// are: each is rendered as it is and as it would be, and judged by the policies. It is pure;
// rendering and judging are given to it, so that the webhook, which has workers and little
// time, and the command line, which has neither, get the same answer.
//
// Releases come one by one and outcomes leave one by one, in the same order, so that some
// thousands of them need no more memory than a few.
package impact

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Source is one revision of a template.
type Source struct {
	// Name is that of the TemplateRevision; empty for a candidate.
	Name   string
	Digest string
	Files  map[string]string
}

// Standing is what a Release asked for last, where that is on record: then it need not be
// rendered to be known.
type Standing struct {
	Revision, Digest string
	// Rejected is true where a rollout of it was aborted, and is not tried again as long as
	// the revision stays the same.
	Rejected bool
}

// Subject is one Release.
type Subject struct {
	Release *v1alpha1.Release
	// Before is the revision that the Release is on; without files there is none.
	Before Source
	// Standing is nil where nothing is on record.
	Standing *Standing
}

// Options say how Releases are looked at. Render and After are required.
type Options struct {
	// Render renders. An error with a code, a method Reason() string, is the template's or
	// the values' fault; any other means that nothing is known.
	Render func(ctx context.Context, s Source, values []byte, c render.Context) (*render.Result, error)
	// After is the candidate.
	After Source
	// Judge returns what the policies refuse and what they warn of; nil asks none. It is
	// asked about Releases that change.
	Judge func(ctx context.Context, r *v1alpha1.Release, s Source, result *render.Result) (denials, warnings []string, err error)
	// Secrets returns the values that must not be shown of the differences of objects, nor of
	// what policies say; nil for none.
	Secrets func(s Source, values []byte) ([]string, error)
	// Objects says that the differences of the objects are wanted. Then each Release that
	// differs is rendered with both revisions, whatever is on record.
	Objects bool
	// Concurrency is how many Releases are looked at at the same time; 0 is 1.
	Concurrency int
}

// Effect says what becomes of one Release.
type Effect string

const (
	// Unchanged is: it renders to the very same.
	Unchanged Effect = "unchanged"
	// InPlace is: its pods stay, something around them changes: a route, a size.
	InPlace Effect = "in-place"
	// Rolls is: it gets other pods, by way of a rollout.
	Rolls Effect = "rolls"
	// Broken is: it renders, and would not any more. It would keep what it has.
	Broken Effect = "broken"
	// WasBroken is: it does not render as it is, and would not.
	WasBroken Effect = "was-broken"
	// Mended is: it does not render as it is, and would.
	Mended Effect = "mended"
)

// Outcome is what becomes of one Release.
type Outcome struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// From is the name of the TemplateRevision that it is on.
	From   string `json:"from,omitempty"`
	Effect Effect `json:"effect"`
	// Code and Mistakes are what its team would see, where it would not render.
	Code     string   `json:"code,omitempty"`
	Mistakes []string `json:"mistakes,omitempty"`
	// Denials are what policies would refuse of what it would render to.
	Denials  []string `json:"denials,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Objects are the differences, where they were wanted.
	Objects []ObjectChange `json:"objects,omitempty"`
}

// Summary counts outcomes.
type Summary struct {
	// Looked is how many Releases were looked at.
	Looked    int `json:"releases"`
	Unchanged int `json:"unchanged"`
	InPlace   int `json:"inPlace"`
	Rolls     int `json:"rolls"`
	Broken    int `json:"broken"`
	WasBroken int `json:"wasBroken"`
	Mended    int `json:"mended"`
	// Denied is how many of those that change a policy would refuse.
	Denied int `json:"denied"`
}

func (s *Summary) add(o Outcome) {
	s.Looked++
	switch o.Effect {
	case Unchanged:
		s.Unchanged++
	case InPlace:
		s.InPlace++
	case Rolls:
		s.Rolls++
	case Broken:
		s.Broken++
	case WasBroken:
		s.WasBroken++
	case Mended:
		s.Mended++
	}
	if len(o.Denials) > 0 {
		s.Denied++
	}
}

// Run looks at all subjects, and gives each outcome to emit, in their order. When ctx ends
// it stops and returns what was counted until then, without an error: how many there are
// is known to the caller. An error of emit, of the subjects, or one that means that nothing
// is known, ends it.
func Run(ctx context.Context, o Options, subjects iter.Seq2[Subject, error], emit func(Outcome) error) (Summary, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan chan answer, max(o.Concurrency, 1)-1)
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() {
		defer close(queue)
		for subject, err := range subjects {
			one := make(chan answer, 1)
			// The queue holds as many as are worked on: who is slow holds up what comes after,
			// never the other way round.
			select {
			case queue <- one:
			case <-ctx.Done():
				return
			}
			if err != nil {
				one <- answer{err: err}
				return
			}
			working.Go(func() { one <- o.look(ctx, subject) })
		}
	})
	var s Summary
	for one := range queue {
		a := <-one
		if a.err == nil {
			a.err = emitted(emit, a.outcome)
		} else if ctx.Err() != nil {
			// It was cut off; so will all that come after be.
			return s, nil
		}
		if a.err != nil {
			stop(a.err)
			return s, a.err
		}
		s.add(a.outcome)
	}
	return s, nil
}

func emitted(emit func(Outcome) error, o Outcome) error {
	if emit == nil {
		return nil
	}
	return emit(o)
}

type answer struct {
	outcome Outcome
	err     error
}

// reasoned is an error with a stable code: a verdict, not a failure.
type reasoned interface {
	error
	Reason() string
}

// mistakes are the lines of a verdict; ok is false where err is none.
func mistakes(err error) (code string, lines []string, ok bool) {
	var r reasoned
	if !errors.As(err, &r) {
		return "", nil, false
	}
	return r.Reason(), strings.Split(r.Error(), "\n"), true
}

// look renders one Release.
func (o Options) look(ctx context.Context, s Subject) answer {
	r := s.Release
	out := Outcome{Namespace: r.Namespace, Name: r.Name, From: s.Before.Name}
	after, err := o.render(ctx, o.After, r)
	if err != nil {
		var ok bool
		if out.Code, out.Mistakes, ok = mistakes(err); !ok {
			return answer{err: fmt.Errorf("rendering Release %s/%s: %w", r.Namespace, r.Name, err)}
		}
	}
	var before *render.Result
	// What is on record rendered once; whether it still does matters only for the blame, and
	// for what is to be shown of it.
	needed := s.Standing == nil || after == nil || o.Objects && s.Standing.Digest != after.Digest
	if s.Before.Files != nil && needed {
		before, err = o.render(ctx, s.Before, r)
		if _, _, ok := mistakes(err); err != nil && !ok {
			return answer{err: fmt.Errorf("rendering Release %s/%s with %s: %w", r.Namespace, r.Name, s.Before.Name, err)}
		}
	}
	out.Effect = effect(s, before, after)
	if after == nil || out.Effect == Unchanged {
		return answer{outcome: out}
	}
	if err := o.detail(ctx, s, before, after, &out); err != nil {
		return answer{err: err}
	}
	return answer{outcome: out}
}

// detail adds to the outcome of a Release that changes what is wanted beside.
func (o Options) detail(ctx context.Context, s Subject, before, after *render.Result, out *Outcome) (err error) {
	if o.Objects && before != nil {
		if out.Objects, err = o.objects(s, before, after); err != nil {
			return err
		}
	}
	if err := o.judge(ctx, s, after, out); err != nil {
		return fmt.Errorf("judging Release %s/%s: %w", s.Release.Namespace, s.Release.Name, err)
	}
	return nil
}

// judge asks the policies about what a Release would render to. They may repeat what they saw.
func (o Options) judge(ctx context.Context, s Subject, after *render.Result, out *Outcome) error {
	if o.Judge == nil {
		return nil
	}
	denials, warnings, err := o.Judge(ctx, s.Release, o.After, after)
	if err != nil {
		return err
	}
	if len(denials)+len(warnings) > 0 {
		hidden, err := o.hidden(s)
		if err != nil {
			return err
		}
		mask := secret.New(hidden)
		out.Denials, out.Warnings = mask.Texts(denials), mask.Texts(warnings)
	}
	// A policy that was cut off counts as a refusal, which it is not here.
	return ctx.Err()
}

func (o Options) render(ctx context.Context, s Source, r *v1alpha1.Release) (*render.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var values []byte
	if r.Spec.Values != nil {
		values = r.Spec.Values.Raw
	}
	return o.Render(ctx, s, values, render.Context{Name: r.Name, Namespace: r.Namespace, Template: r.Spec.Template.Name})
}

// effect says what happens to a Release; before and after are nil where it does not render.
func effect(s Subject, before, after *render.Result) Effect {
	known := s.Standing
	if known == nil && before != nil {
		known = &Standing{Revision: before.Revision, Digest: before.Digest}
	}
	switch {
	case after == nil && s.Before.Files != nil && before == nil:
		return WasBroken
	case after == nil:
		return Broken
	case known == nil && s.Before.Files != nil:
		return Mended
	case known == nil:
		return Rolls
	case known.Digest == after.Digest, known.Rejected && known.Revision == after.Revision:
		return Unchanged
	case known.Revision == after.Revision:
		return InPlace
	}
	return Rolls
}

// objects are the differences, without what must not be shown.
func (o Options) objects(s Subject, before, after *render.Result) ([]ObjectChange, error) {
	hidden, err := o.hidden(s)
	if err != nil {
		return nil, err
	}
	return Diff(before, after, hidden), nil
}

// hidden are the values that must not be shown: those that either revision says so of.
func (o Options) hidden(s Subject) ([]string, error) {
	if o.Secrets == nil || s.Release.Spec.Values == nil {
		return nil, nil
	}
	var out []string
	for _, source := range []Source{s.Before, o.After} {
		more, err := o.Secrets(source, s.Release.Spec.Values.Raw)
		if err != nil {
			return nil, fmt.Errorf("finding the sensitive values of Release %s/%s: %w", s.Release.Namespace, s.Release.Name, err)
		}
		out = append(out, more...)
	}
	return out, nil
}
