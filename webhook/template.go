package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook/govern"
)

const (
	// maxNamed is how many Releases, or changes, of one sort a message names.
	maxNamed = 10
	// maxTemplateBytes bounds the source of a template.
	maxTemplateBytes = 256 << 10
	// previewed is how many Releases are looked at at the same time.
	previewed = 4
	// reserve is what is left of the time of an answer when the look at the Releases ends.
	reserve = 300 * time.Millisecond
	// impactEighths is how many eighths of the time of an answer are left to the look at the
	// Releases when vetting ends.
	impactEighths = 3
)

// template judges a ReleaseTemplate: its source must compile and pass its own tests, and
// must not break values that were good before, unless that is declared. What it would do to
// the Releases there are is told as warnings; it never disturbs them.
func (h *own) template(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		return h.unusedTemplate(ctx, r)
	}
	t, refusal := decode[v1alpha1.ReleaseTemplate]("a ReleaseTemplate", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	old := &v1alpha1.ReleaseTemplate{}
	if string(r.Operation) == govern.Update {
		if old, refusal = decode[v1alpha1.ReleaseTemplate]("the ReleaseTemplate as it was", r.OldObject.Raw); refusal != nil {
			return *refusal
		}
	}
	filesStay := string(r.Operation) == govern.Update && maps.Equal(old.Spec.Files, t.Spec.Files)
	if filesStay && slices.Equal(old.Spec.Channels, t.Spec.Channels) {
		return answer{}
	}
	revisions, err := h.revisions(ctx, t.Name)
	if err != nil {
		return fail(err)
	}
	if a := badChannels(t, old, revisions); a.denial != "" || filesStay {
		return a
	}
	return h.candidate(ctx, r, t, revisions)
}

// candidate judges source that would become the next revision.
func (h *own) candidate(ctx context.Context, r admission.Request, t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) answer {
	size := 0
	for _, f := range t.Spec.Files {
		size += len(f)
	}
	if size > maxTemplateBytes {
		return deny(render.ReasonTemplateBroken, "ReleaseTemplate %q: wanted at most %d bytes in spec.files, found %d; do: split the template", t.Name, maxTemplateBytes, size)
	}
	if err := h.Renderer.Check(ctx, t.Spec.Files); err != nil {
		if source, ok := errors.AsType[*render.SourceError](err); ok {
			return deny(render.ReasonTemplateBroken, "ReleaseTemplate %q: wanted source that compiles and passes its own tests, found:%s", t.Name, itemized(source.Lines))
		}
		if bomb, ok := errors.AsType[*worker.BombError](err); ok {
			return deny(bomb.Reason(), "ReleaseTemplate %q: %s", t.Name, bomb.Error())
		}
		return fail(fmt.Errorf("checking template %q: %w", t.Name, err))
	}
	a := h.compatible(ctx, t, revisions)
	if a.err != nil || a.denial != "" {
		return a
	}
	vetted := h.vet(ctx, t)
	vetted.warnings = append(a.warnings, vetted.warnings...)
	if vetted.denial != "" {
		return vetted
	}
	warnings, err := h.impact(ctx, r, t, revisions)
	if err != nil {
		return fail(err)
	}
	vetted.warnings = append(vetted.warnings, warnings...)
	return vetted
}

// vet refuses source with mistakes that the language lets pass. It may be a matter of the
// machine how far that comes: what was not looked at is a warning, and refuses nothing.
func (h *own) vet(ctx context.Context, t *v1alpha1.ReleaseTemplate) answer {
	limited, cancel := sooner(ctx, h.Timeout*impactEighths/8)
	defer cancel()
	findings, err := h.Renderer.Vet(limited, t.Spec.Files)
	if err != nil {
		// What an error advises is for whoever renders.
		why, _, _ := strings.Cut(err.Error(), "; do: ")
		if errors.Is(err, context.DeadlineExceeded) {
			why = "the time was up"
		}
		return answer{warnings: []string{fmt.Sprintf("template %s was not vetted: %s; do: tidegate template vet DIR", t.Name, why)}}
	}
	var mistakes, warnings []string
	for _, f := range findings {
		switch f.Severity {
		case render.SeverityError:
			mistakes = append(mistakes, f.String())
		case render.SeverityWarning:
			warnings = append(warnings, f.String())
		case render.SeverityAdvice: // for authors, not for whoever publishes
		}
	}
	a := answer{warnings: firstOf(warnings, "more warnings")}
	if len(mistakes) > 0 {
		a.code = render.ReasonTemplateBroken
		a.denial = fmt.Sprintf("ReleaseTemplate %q: wanted source without mistakes that only show later, found:%s\ndo: correct them; tidegate template vet DIR finds them before publishing",
			t.Name, itemized(firstOf(mistakes, "more mistakes")))
	}
	return a
}

// sooner is ctx with a deadline that comes sooner by as much.
func sooner(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-by))
	}
	return context.WithCancel(ctx)
}

// revisions are those of a template, the newest first.
func (h *own) revisions(ctx context.Context, template string) ([]v1alpha1.TemplateRevision, error) {
	var list v1alpha1.TemplateRevisionList
	if err := h.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing revisions of template %q: %w", template, err)
	}
	var out []v1alpha1.TemplateRevision
	for i := range list.Items {
		if list.Items[i].Spec.Template == template {
			out = append(out, list.Items[i])
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.TemplateRevision) int { return int(b.Spec.Number - a.Spec.Number) })
	return out, nil
}

// badChannels refuses channels that name no revision. Channels that stay as they are are not
// looked at: whoever edits something else is not to blame for them.
func badChannels(t, old *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) answer {
	var lines []string
	for i, c := range t.Spec.Channels {
		is := func(r v1alpha1.TemplateRevision) bool {
			return r.Spec.Number == c.Revision && r.DeletionTimestamp == nil
		}
		if slices.Contains(old.Spec.Channels, c) || slices.ContainsFunc(revisions, is) {
			continue
		}
		there := make([]string, 0, len(revisions))
		for _, r := range revisions {
			there = append(there, fmt.Sprint(r.Spec.Number))
		}
		wanted := "one of " + strings.Join(there, ", ")
		if len(there) == 0 {
			wanted = "one that is published, and there is none yet"
		}
		lines = append(lines, fmt.Sprintf("spec.channels[%d] %s: wanted the number of a revision, %s, found %d", i, c.Name, wanted, c.Revision))
	}
	if len(lines) == 0 {
		return answer{}
	}
	return deny(ReasonTemplateChannel, "ReleaseTemplate %q:%s\ndo: kubectl get templaterevisions, then correct the number; publish first where the revision is still to come", t.Name, itemized(lines))
}

// compatible compares #Variables with the newest revision's.
func (h *own) compatible(ctx context.Context, t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) answer {
	if len(revisions) == 0 || maps.Equal(revisions[0].Spec.Files, t.Spec.Files) {
		return answer{}
	}
	newest := &revisions[0]
	comparison, err := h.Renderer.Compare(ctx, newest.Spec.Files, t.Spec.Files)
	if err != nil {
		var verdict interface{ Reason() string }
		if errors.As(err, &verdict) {
			// The candidate compiles, so it is the comparison that cannot be made, such as with
			// a revision of another version of the engine. That is no reason to be stuck with it.
			first, _, _ := strings.Cut(err.Error(), "\n")
			return answer{warnings: []string{fmt.Sprintf("whether %s is a compatible successor of %s is not known: %s", t.Name, newest.Name, first)}}
		}
		return fail(fmt.Errorf("comparing template %q with %s: %w", t.Name, newest.Name, err))
	}
	var breaking, warnings []string
	for _, c := range comparison.Changes {
		line := fmt.Sprintf("%s: %s: %s", c.Path, c.Change, c.Why)
		switch c.Verdict {
		case render.Breaking:
			breaking = append(breaking, line)
		case render.Unknown, render.DefaultChanged:
			warnings = append(warnings, fmt.Sprintf("%s: %s", c.Verdict, line))
		case render.Safe:
		}
	}
	a := answer{warnings: firstOf(warnings, "more changes are default-changed or unknown")}
	switch {
	case len(breaking) == 0:
	case t.Spec.AllowBreakingAfter == newest.Spec.Number:
		for i, line := range breaking {
			breaking[i] = "breaking, as declared: " + line
		}
		a.warnings = append(firstOf(breaking, "more changes are breaking"), a.warnings...)
	default:
		a.code = ReasonTemplateBreaking
		a.denial = fmt.Sprintf("ReleaseTemplate %q: wanted variables that accept what those of %s do, found:%s\ndo: make the change in a way that breaks nobody (a default, the old name beside the new one), or declare it: set spec.allowBreakingAfter: %d",
			t.Name, newest.Name, itemized(firstOf(breaking, "more changes are breaking")), newest.Spec.Number)
	}
	return a
}

// firstOf is the beginning of lines, and how many more there are.
func firstOf(lines []string, more string) []string {
	if len(lines) <= maxNamed {
		return lines
	}
	return append(slices.Clone(lines[:maxNamed]), fmt.Sprintf("and %d %s", len(lines)-maxNamed, more))
}

// users are the Releases that name a template, by namespace and name.
func (h *own) users(ctx context.Context, template string) ([]v1alpha1.Release, error) {
	var list v1alpha1.ReleaseList
	if err := h.Reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	out := slices.DeleteFunc(list.Items, func(r v1alpha1.Release) bool {
		return r.Spec.Template.Name != template
	})
	slices.SortFunc(out, func(a, b v1alpha1.Release) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

// impact renders the Releases of a template anew and says what would come of it. It ends
// when the time for the answer does, and says how far it came.
func (h *own) impact(ctx context.Context, r admission.Request, t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) ([]string, error) {
	all, err := h.users(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	free := slices.DeleteFunc(slices.Clone(all), func(r v1alpha1.Release) bool { return !follow.Free(&r) })
	if len(all) == 0 {
		return nil, nil
	}
	limited, cancel := sooner(ctx, reserve)
	defer cancel()
	found := findings{}
	options := impact.Options{
		After:       impact.Source{Files: t.Spec.Files},
		Concurrency: previewed,
		Render: func(ctx context.Context, s impact.Source, values []byte, c render.Context) (*render.Result, error) {
			return h.Renderer.Render(ctx, Source{Digest: s.Digest, Files: s.Files}, values, c)
		},
		Judge: func(ctx context.Context, release *v1alpha1.Release, _ impact.Source, result *render.Result) (denials, warnings []string, err error) {
			return h.judgeCandidate(ctx, r, release, result)
		},
		// The candidate has no schema yet: what the revision that the Release is on keeps out of
		// messages is kept out.
		Secrets: func(s impact.Source, values []byte) ([]string, error) {
			i := slices.IndexFunc(revisions, func(r v1alpha1.TemplateRevision) bool { return r.Name == s.Name })
			if i < 0 || revisions[i].Spec.Schema == nil {
				return nil, nil
			}
			return secret.Values(revisions[i].Spec.Schema.Raw, values), nil
		},
	}
	subjects := func(yield func(impact.Subject, error) bool) {
		for i := range free {
			s, err := h.subject(limited, &free[i], t, revisions)
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
	s, err := impact.Run(limited, options, subjects, found.add)
	if err != nil {
		return nil, err
	}
	return found.warnings(t.Name, s, len(free), len(all)-len(free)), nil
}

// findings are the Releases that a message names.
type findings struct{ broken, denied []string }

func (f *findings) add(o impact.Outcome) error {
	name := o.Namespace + "/" + o.Name
	if o.Effect == impact.Broken {
		f.broken = append(f.broken, fmt.Sprintf("would break: %s: %s", name, o.Mistakes[0]))
	}
	if len(o.Denials) > 0 {
		f.denied = append(f.denied, fmt.Sprintf("a policy would refuse: %s: %s", name, o.Denials[0]))
	}
	return nil
}

// warnings words what was found; the first line has the counts.
func (f *findings) warnings(template string, s impact.Summary, free, held int) []string {
	line := fmt.Sprintf("of %d releases of template %s: %d unchanged, %d change in place, %d roll, %d would break and keep what they have",
		free, template, s.Unchanged, s.InPlace, s.Rolls, s.Broken)
	if s.WasBroken > 0 {
		line += fmt.Sprintf(", %d do not render as it is, nor would they", s.WasBroken)
	}
	if s.Mended > 0 {
		line += fmt.Sprintf(", %d do not render as it is and would", s.Mended)
	}
	if left := free - s.Looked; left > 0 {
		line += fmt.Sprintf("; %d were not looked at, since the time was up: tidegate template diff looks at all", left)
	}
	if held > 0 {
		line += fmt.Sprintf("; %d more pin a revision or follow a channel, and stay where they are", held)
	}
	out := append([]string{line}, firstOf(f.broken, "more would break")...)
	return append(out, firstOf(f.denied, "more would be refused by a policy")...)
}

// subject is a Release with what it is on.
func (h *own) subject(ctx context.Context, release *v1alpha1.Release, t *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) (impact.Subject, error) {
	s := impact.Subject{Release: release}
	if choice, err := follow.Choose(release, t, revisions); err == nil {
		spec := choice.Revision.Spec
		s.Before = impact.Source{Name: choice.Revision.Name, Digest: spec.Digest, Files: spec.Files}
	}
	newest, err := h.newestRollout(ctx, release)
	if err != nil {
		return s, err
	}
	if newest == nil {
		// It has no pods yet, so whatever it becomes rolls.
		s.Standing = &impact.Standing{}
		return s, nil
	}
	s.Standing = &impact.Standing{
		Revision: newest.Spec.Revision, Digest: newest.Spec.Digest,
		Rejected: newest.Status.Phase == v1alpha1.RolloutAborted && newest.AdmittedAt() == release.Generation,
	}
	return s, nil
}

// newestRollout returns what a Release asked for last, nil when it has no Rollout.
func (h *own) newestRollout(ctx context.Context, r *v1alpha1.Release) (*v1alpha1.Rollout, error) {
	if r.Status.Rollout == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	var newest v1alpha1.Rollout
	switch err := h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Status.Rollout}, &newest); {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // none is an answer
	case err != nil:
		return nil, fmt.Errorf("reading Rollout %s/%s: %w", r.Namespace, r.Status.Rollout, err)
	}
	return &newest, nil
}

// judgeCandidate asks the policies about a Release as the candidate would render it. The
// revision has no name or number yet.
func (h *own) judgeCandidate(ctx context.Context, r admission.Request, release *v1alpha1.Release, result *render.Result) (denials, warnings []string, err error) {
	questions, err := h.questions(ctx, r, release, &v1alpha1.TemplateRevision{}, result)
	if err != nil {
		return nil, nil, err
	}
	denials, warnings = impact.Ask(ctx, h.Policies.Set(), questions)
	return denials, warnings, nil
}

func (h *own) unusedTemplate(ctx context.Context, r admission.Request) answer {
	if h.tidegates(r) {
		return answer{}
	}
	// A collection is deleted without a name; the old object has it.
	old, refusal := decode[v1alpha1.ReleaseTemplate]("the ReleaseTemplate as it was", r.OldObject.Raw)
	if refusal != nil {
		return *refusal
	}
	users, err := h.users(ctx, old.Name)
	if err != nil {
		return fail(err)
	}
	if len(users) == 0 {
		return answer{}
	}
	names := make([]string, 0, len(users))
	for i := range users {
		names = append(names, users[i].Namespace+"/"+users[i].Name)
	}
	return deny(ReasonTemplateInUse, "ReleaseTemplate %q: wanted no Release that names it, found %d: %s; do: give them another template or delete them: kubectl get releases -A",
		old.Name, len(users), strings.Join(firstOf(names, "more"), ", "))
}
