package check

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"

	"tidegate.io/tidegate/cmd/tidegate/internal/findings"
	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/source"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Templates are those that Releases can name.
type Templates struct {
	// candidates are sources that are not published, by the name of the template.
	candidates map[string]*v1alpha1.TemplateRevision
	templates  map[string]*v1alpha1.ReleaseTemplate
	revisions  []v1alpha1.TemplateRevision
	compiled   map[string]*compiled
}

// compiled is a template that was compiled once, or why it was not.
type compiled struct {
	template *render.Template
	schema   []byte
	err      error
}

// NewTemplates returns no templates.
func NewTemplates() *Templates {
	return &Templates{
		candidates: map[string]*v1alpha1.TemplateRevision{}, templates: map[string]*v1alpha1.ReleaseTemplate{}, compiled: map[string]*compiled{},
	}
}

// candidate adds a source that is not published.
func (t *Templates) candidate(name string, files map[string]string) {
	t.candidates[name] = &v1alpha1.TemplateRevision{Spec: v1alpha1.TemplateRevisionSpec{Template: name, Digest: render.Digest(files), Files: files}}
}

// AddLive adds what a cluster has.
func (t *Templates) AddLive(templates []v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) {
	for i := range templates {
		t.templates[templates[i].Name] = &templates[i]
	}
	t.revisions = append(t.revisions, revisions...)
}

// AddFiles adds templates of files: directories, ReleaseTemplates and TemplateRevisions.
// Those in a directory that holds several are named as their directories are.
func (t *Templates) AddFiles(f Files) error {
	for _, dir := range f.Templates {
		s, err := source.Read(dir)
		if err != nil {
			return err
		}
		t.candidate(s.Name, s.Files)
	}
	for _, m := range f.Manifests {
		if m.Object.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
			continue
		}
		switch m.Object.GetKind() {
		case "ReleaseTemplate":
			var one v1alpha1.ReleaseTemplate
			if err := m.decode(&one); err == nil { // What is wrong with it is found when it is judged.
				t.candidate(one.Name, one.Spec.Files)
			}
		case "TemplateRevision":
			var one v1alpha1.TemplateRevision
			if err := m.decode(&one); err != nil {
				return fmt.Errorf("%s:%d: reading a TemplateRevision: %w", m.File, m.line(), err)
			}
			t.revisions = append(t.revisions, one)
		}
	}
	return nil
}

// revision is what a Release is rendered with: what was given as files, else what the
// controller would choose.
func (t *Templates) revision(r *v1alpha1.Release) (*v1alpha1.TemplateRevision, error) {
	ref := r.Spec.Template
	if c := t.candidates[ref.Name]; c != nil {
		if ref.Digest != "" && ref.Digest != c.Spec.Digest {
			return nil, fmt.Errorf("wanted template %q with digest %s, which the Release pins, found %s; give the revision that is meant in --templates", ref.Name, ref.Digest, c.Spec.Digest)
		}
		return c, nil
	}
	template := t.templates[ref.Name]
	if template == nil {
		template = &v1alpha1.ReleaseTemplate{}
		template.Name = ref.Name
	}
	choice, err := follow.Choose(r, template, t.revisions)
	if missing, ok := errors.AsType[*follow.NotFoundError](err); ok {
		return nil, fmt.Errorf("%w; give it in --templates, or ask the cluster with --live", missing)
	}
	return choice.Revision, err
}

// compile compiles a revision, once.
func (t *Templates) compile(r *v1alpha1.TemplateRevision) *compiled {
	key := render.Digest(r.Spec.Files)
	if c := t.compiled[key]; c != nil {
		return c
	}
	c := &compiled{}
	t.compiled[key] = c
	if c.template, c.err = render.Compile(r.Spec.Files); c.err == nil {
		c.schema, c.err = c.template.Schema()
	}
	return c
}

// mask hides the sensitive values of a Release.
func (c *compiled) mask(values []byte) secret.Mask {
	return secret.New(secret.Values(c.schema, values))
}

// severities are those of vet, in the words of a report.
var severities = map[render.Severity]findings.Severity{
	render.SeverityError: findings.Error, render.SeverityWarning: findings.Warning, render.SeverityAdvice: findings.Note,
}

// directory judges a directory of CUE files, as publishing would.
func directory(dir string) (findings.Object, error) {
	s, err := source.Read(dir)
	if err != nil {
		return findings.Object{}, err
	}
	options := render.VetOptions{Examples: s.Examples}
	if len(s.CRDs) > 0 {
		schemas, err := source.NewSchemas(s.CRDs)
		if err != nil {
			return findings.Object{}, err
		}
		options.Checks = append(options.Checks, render.ObjectCheck{Code: render.CodeCRD, Check: schemas.Check})
	}
	o := findings.Object{Kind: "Template", Name: s.Name, File: slashed(dir), Judged: true}
	for _, f := range render.Vet(s.Files, options) {
		found := findings.Finding{Severity: severities[f.Severity], Code: f.Code, Message: f.Message, File: o.File}
		if file, line, column, ok := position(f.Position); ok {
			found.File, found.Line, found.Column = path.Join(o.File, file), line, column
		}
		o.Findings = append(o.Findings, found)
	}
	return o, nil
}

// template judges a ReleaseTemplate, as publishing would.
func (m Manifest) template(o *findings.Object) {
	var t v1alpha1.ReleaseTemplate
	if err := m.decode(&t); err != nil {
		o.Findings = append(o.Findings, m.malformed(err))
		return
	}
	for _, f := range render.Vet(t.Spec.Files, render.VetOptions{}) {
		found := m.finding(severities[f.Severity], f.Code, f.Message)
		if file, line, column, ok := position(f.Position); ok {
			if source := step(step(step(m.node, segment{name: "spec"}), segment{name: "files"}), segment{name: file}); source != nil {
				// The text of a block begins in the line below its name; its column is not kept.
				found.Line, found.Column, found.Field = source.Line+m.offset+line, 0, file
				if source.Style&blockStyles == 0 {
					found.Line = source.Line + m.offset
				}
			} else {
				found.Message = fmt.Sprintf("%s:%d:%d: %s", file, line, column, found.Message)
			}
		}
		o.Findings = append(o.Findings, found)
	}
}

var placed = regexp.MustCompile(`^([^:]+):(\d+)(?::(\d+))?$`)

// position reads file:line:column.
func position(text string) (file string, line, column int, ok bool) {
	m := placed.FindStringSubmatch(text)
	if m == nil {
		return "", 0, 0, false
	}
	line, err := strconv.Atoi(m[2])
	if err != nil {
		return "", 0, 0, false
	}
	if m[3] != "" {
		if column, err = strconv.Atoi(m[3]); err != nil {
			return "", 0, 0, false
		}
	}
	return m[1], line, column, true
}
