package attempt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a file: bodies that are larger are generated.
const maxFile = 4 << 20

// Read reads every .yaml and .yml file below the directories, each once, in the order of
// their paths.
// The error has every mistake of every file.
func Read(dirs ...string) ([]*Attempt, error) {
	var (
		out  []*Attempt
		errs []error
	)
	ids, seen := map[string]string{}, map[string]bool{}
	for _, dir := range dirs {
		paths, err := files(dir)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			errs = append(errs, fmt.Errorf("%s: wanted files *.yaml, found none", dir))
		}
		for _, path := range paths {
			// A directory may be named together with one that it is in.
			if whole, err := filepath.Abs(path); err == nil {
				if seen[whole] {
					continue
				}
				seen[whole] = true
			}
			a, err := readFile(path)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			a.ID = unique(identifier(path), ids)
			ids[a.ID] = path
			out = append(out, a)
		}
	}
	return out, errors.Join(errs...)
}

func files(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := filepath.Ext(path); d.Type().IsRegular() && (ext == ".yaml" || ext == ".yml") {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading attempts: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// identifier makes a part of a namespace's name from a path: at most 40 characters.
func identifier(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	id := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(base), "-"), "-")
	if len(id) > 40 {
		id = strings.TrimRight(id[:40], "-")
	}
	if id == "" {
		id = "x"
	}
	return id
}

// unique adds a number where another file has the identifier.
func unique(id string, taken map[string]string) string {
	out := id
	for i := 2; ; i++ {
		if _, ok := taken[out]; !ok {
			return out
		}
		out = fmt.Sprintf("%s-%d", id, i)
	}
}

func readFile(path string) (*Attempt, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: wanted at most %d bytes, found %d; generate large bodies with fill or ${repeat:N:text}", path, maxFile, info.Size())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, raw)
}

// lineOf is what yaml writes in front of its mistakes.
var lineOf = regexp.MustCompile(`(?:yaml: )?line (\d+): `)

// Parse reads one file. Each mistake in the error begins with file:line where the line is known.
func Parse(path string, raw []byte) (*Attempt, error) {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	var root, rest yaml.Node
	if err := d.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: wanted an attempt, found nothing", path)
		}
		return nil, located(path, err.Error())
	}
	if err := d.Decode(&rest); err == nil {
		return nil, fmt.Errorf("%s:%d: wanted one attempt in a file, found another document", path, rest.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, located(path, err.Error())
	}
	a := &Attempt{File: path, Open: bytes.Contains(raw, []byte("${open}"))}
	if unknown := unknownKeys(&root, reflect.TypeFor[Attempt]()); len(unknown) > 0 {
		return nil, located(path, unknown...)
	}
	if err := root.Decode(a); err != nil {
		if te, ok := errors.AsType[*yaml.TypeError](err); ok {
			return nil, located(path, te.Errors...)
		}
		return nil, located(path, err.Error())
	}
	if a.Name == "" {
		a.Name = strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), "-", " ")
	}
	if a.Namespace == "" {
		a.Namespace = Governed
	}
	if a.Manager == "" {
		a.Manager = Running
	}
	var problems []string
	for _, p := range a.problems() {
		if line := lineAt(&root, p); line > 0 {
			p = fmt.Sprintf("line %d: %s", line, p)
		}
		problems = append(problems, p)
	}
	if problems = append(problems, a.undefined(raw)...); len(problems) > 0 {
		return nil, located(path, problems...)
	}
	return a, nil
}

// located puts file and line in front of mistakes.
func located(path string, mistakes ...string) error {
	errs := make([]error, 0, len(mistakes))
	for _, t := range mistakes {
		line := ""
		if m := lineOf.FindStringSubmatch(t); m != nil {
			line, t = ":"+m[1], strings.Replace(t, m[0], "", 1)
		}
		errs = append(errs, fmt.Errorf("%s%s: %s", path, line, strings.TrimPrefix(t, "yaml: ")))
	}
	return errors.Join(errs...)
}

// problems are what is wrong with a file that can be read.
func (a *Attempt) problems() []string {
	p := &problems{}
	p.require(a.About != "", "about: wanted a sentence, found none")
	p.require(a.Kind == Hostile || a.Kind == Legitimate, "kind: wanted attempt or legitimate, found %q", a.Kind)
	p.require(slices.Contains([]Place{Governed, Labelled, Strict, Glass, Ungoverned, Nowhere}, a.Namespace),
		"namespace: wanted governed, labelled, strict, glass, open or none, found %q", a.Namespace)
	p.require(a.Manager == Running || a.Manager == Stopped, "manager: wanted running or stopped, found %q", a.Manager)
	p.require(a.Within() <= MaxTimeout, "timeout: wanted at most %s, found %s", MaxTimeout, a.Within())
	p.require(count(a.Request != nil, len(a.Requests) > 0, a.Review != nil) == 1, "wanted exactly one of request, requests and review")
	p.require(!a.Alone || a.Manager == Running, "alone: wanted the manager to run; what is tried while it is stopped disturbs nobody")
	if a.Review != nil {
		p.require(a.Expect != nil, "expect: wanted what must come of the review, found nothing")
		p.review("review", a.Review)
	}
	p.expect("expect", a.Expect)
	p.identity("as", a.As, false)
	for i, r := range a.All() {
		where := fmt.Sprintf("request %d", i+1)
		p.require(r.Expect != nil || a.Expect != nil, "%s: wanted an expectation, found none", where)
		p.request(where, r, false)
	}
	for i, s := range a.Setup {
		p.step(fmt.Sprintf("setup %d", i+1), s)
	}
	for i, l := range a.During {
		where := fmt.Sprintf("during %d", i+1)
		p.require(count(l.Request != nil, l.Review != nil) == 1, "%s: wanted a request or a review", where)
		p.require(l.Concurrency > 0 && l.Concurrency <= 256, "%s: concurrency: wanted 1 to 256, found %d", where, l.Concurrency)
		p.identity(where+": as", l.As, false)
		if l.Request != nil {
			p.request(where, *l.Request, false)
		}
		if l.Review != nil {
			p.review(where, l.Review)
		}
	}
	for i, c := range a.Afterwards {
		p.check(fmt.Sprintf("afterwards %d", i+1), c)
	}
	for i, m := range a.Metrics {
		p.require(m.Name != "" && m.Rises > 0, "metrics %d: wanted a name and how much it rises", i+1)
	}
	return p.found
}

type problems struct{ found []string }

func (p *problems) require(ok bool, format string, args ...any) {
	if !ok {
		p.found = append(p.found, fmt.Sprintf(format, args...))
	}
}

func count(of ...bool) int {
	n := 0
	for _, b := range of {
		if b {
			n++
		}
	}
	return n
}

func (p *problems) step(where string, s Step) {
	p.require(count(len(s.Apply) > 0, s.Request != nil, s.Wait != nil, s.Capture != nil) == 1,
		"%s: wanted exactly one of apply, request, wait and capture", where)
	p.identity(where+": as", s.As, true)
	if s.Request != nil {
		p.request(where, *s.Request, true)
	}
	if s.Wait != nil {
		p.require(s.Wait.Within > 0, "%s: wait: wanted within, found none; a wait has an end", where)
		p.require(!s.Wait.Unchanged, "%s: wait: unchanged is for afterwards", where)
		p.check(where, *s.Wait)
	}
	if s.Capture != nil {
		p.require(variableName.MatchString(s.Capture.Var), "%s: capture: var: wanted a name of letters and digits, found %q", where, s.Capture.Var)
		p.require(s.Capture.Field != "", "%s: capture: wanted a field", where)
		p.target(where, s.Capture.Object)
	}
}

func (p *problems) identity(where string, i *Identity, setup bool) {
	if i == nil {
		return
	}
	p.require(count(i.User != "", i.ServiceAccount != "", i.Token != "", i.Anonymous, i.Manager) == 1,
		"%s: wanted exactly one of user, serviceAccount, token, anonymous and manager", where)
	p.require(setup || !i.Manager, "%s: manager is for setup alone: an attempt has every right but the manager's identity", where)
	p.require(i.User != "" || len(i.Groups) == 0 && len(i.Extra) == 0, "%s: groups and extra are a user's", where)
	p.require(i.ServiceAccount == "" || strings.Count(i.ServiceAccount, "/") == 1, "%s: serviceAccount: wanted namespace/name, found %q", where, i.ServiceAccount)
}

var verbs = []string{"create", "update", "patch", "apply", "delete", "deletecollection", "get", "list", "watch", "connect"}

func (p *problems) request(where string, r Request, setup bool) {
	p.identity(where+": as", r.As, setup)
	p.expect(where+": expect", r.Expect)
	p.require(r.Method != "" || slices.Contains(verbs, r.Verb), "%s: verb: wanted one of %s, found %q", where, strings.Join(verbs, ", "), r.Verb)
	p.require(r.Path != "" || r.Verb != "", "%s: wanted a verb or a path", where)
	p.require(r.Verb != "patch" || slices.Contains([]string{"json", "merge", "strategic", "apply"}, r.PatchType) || r.ContentType != "",
		"%s: patchType: wanted json, merge, strategic or apply, found %q", where, r.PatchType)
	p.require(count(r.Body != nil, r.BodyBase64 != "", len(r.Edit) > 0) <= 1, "%s: wanted one of body, bodyBase64 and edit", where)
	p.require(len(r.Edit) == 0 || r.Verb == "update", "%s: edit: wanted verb update, found %q", where, r.Verb)
	p.require(len(r.Fill) == 0 || r.Body != nil, "%s: fill: wanted a body to fill", where)
	p.require(setup || r.Within == 0, "%s: within is for requests of setup; what is tried is tried once, or as often as repeat says", where)
	p.repeat(where, r.Repeat, r.Concurrency)
	p.fill(where, r.Fill)
	for name := range r.Capture {
		p.require(variableName.MatchString(name), "%s: capture: wanted a name of letters and digits, found %q", where, name)
	}
}

func (p *problems) repeat(where string, repeat, concurrency int) {
	p.require(repeat >= 0 && repeat <= 10000, "%s: repeat: wanted at most 10000, found %d", where, repeat)
	p.require(concurrency >= 0 && concurrency <= 256, "%s: concurrency: wanted at most 256, found %d", where, concurrency)
}

func (p *problems) fill(where string, fills []Fill) {
	for _, f := range fills {
		p.require(strings.HasPrefix(f.At, "/"), "%s: fill: at: wanted a JSON pointer such as /spec/containers, found %q", where, f.At)
		p.require(f.Count > 0 && f.Count <= 1_000_000, "%s: fill: count: wanted 1 to 1000000, found %d", where, f.Count)
	}
}

func (p *problems) review(where string, r *Review) {
	p.require(strings.HasPrefix(r.Path, "/"), "%s: path: wanted one such as /gate, found %q", where, r.Path)
	p.require(count(r.Body != nil, r.BodyBase64 != "") <= 1, "%s: wanted one of body and bodyBase64", where)
	p.require(r.Slow == nil || r.Slow.Every > 0, "%s: slow: wanted every", where)
	p.repeat(where, r.Repeat, r.Concurrency)
	p.fill(where, r.Fill)
}

func (p *problems) expect(where string, e *Expect) {
	if e == nil {
		return
	}
	p.require(len(e.Result) > 0, "%s: result: wanted denied, rejected, allowed or admitted, found none", where)
	for _, pattern := range []string{e.Message, e.Not, e.Warning} {
		p.pattern(where, pattern)
	}
	if e.Field != nil {
		p.field(where, e.Field)
	}
}

func (p *problems) pattern(where, pattern string) {
	_, err := regexp.Compile(pattern)
	p.require(err == nil, "%s: wanted a regular expression, found %q: %v", where, pattern, err)
}

func (p *problems) field(where string, f *Field) {
	p.require(strings.HasPrefix(f.Path, "."), "%s: field: path: wanted one such as .spec.replicas, found %q", where, f.Path)
	p.require(count(f.Equals != nil, f.NotEquals != nil, f.Matches != "", f.Absent, f.AtLeast != nil || f.AtMost != nil) == 1,
		"%s: field: wanted exactly one of equals, notEquals, matches, absent and atLeast or atMost", where)
	p.pattern(where, f.Matches)
}

func (p *problems) target(where string, t Target) {
	p.require(t.APIVersion != "" && t.Resource != "", "%s: object: wanted apiVersion and resource", where)
	p.require(t.Name != "" || t.Selector != "", "%s: object: wanted a name or a selector", where)
}

func (p *problems) check(where string, c Check) {
	p.require(count(c.Object != nil, c.Manager != nil) == 1, "%s: wanted an object or manager", where)
	if c.Object == nil {
		return
	}
	if c.Count == nil {
		p.target(where, *c.Object)
	} else {
		p.require(c.Object.APIVersion != "" && c.Object.Resource != "", "%s: object: wanted apiVersion and resource", where)
	}
	p.require(count(c.Exists != nil, c.Field != nil, c.Unchanged, c.Count != nil) == 1,
		"%s: wanted exactly one of exists, field, unchanged and count", where)
	if c.Field != nil {
		p.field(where, c.Field)
	}
}
