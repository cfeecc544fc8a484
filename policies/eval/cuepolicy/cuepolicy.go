// Package cuepolicy judges objects by policies in CUE: a matching object is unified with
// the policy's field object, and each conflict becomes a finding with the path, what was
// wanted there and what was found.
//
// The engine can be neither interrupted nor bounded from inside. Source and objects are
// bounded in size, and functions that make long values out of short ones are refused; for
// the rest there is Runner, which judges in a process that can be ended. Whoever judges in
// his own process must be ready to leave an evaluation behind (package budget is).
package cuepolicy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
	cuejson "cuelang.org/go/encoding/json"
)

const (
	// MaxInput is how large what is judged may be, with all that the policy sees of it, in
	// bytes of JSON.
	MaxInput = 1 << 20
	// instances is how many evaluations of one policy run at a time. Each needs an engine of
	// its own: they cannot share one.
	instances = 2
	// uses is after how many evaluations an engine is replaced. It keeps whatever it saw.
	uses = 200
	// maxLines bounds the mistakes reported about one policy.
	maxLines = 20
	// maxFindings bounds what is said about one object.
	maxFindings = 100
)

// The fields of a policy.
const (
	fieldObject = "object"
	fieldWarn   = "warn"
	fieldInput  = "input"
)

// ErrInputSize is: what is to be judged is larger than MaxInput.
var ErrInputSize = fmt.Errorf("wanted at most %d KiB to judge by CUE, found more", MaxInput>>10)

// Finding is one conflict of an object with a policy.
type Finding struct {
	// Path is where, such as spec.containers[0].image; empty for the whole object.
	Path string
	// Wanted and Found are the constraint and the value, as far as they are known.
	Wanted, Found string
	// Message, Fix and Code are what the policy itself says, by the attributes @msg("..."),
	// @fix("...") and @code("...") of the field; empty where it does not.
	Message, Fix, Code string
}

// String is the finding in one line.
func (f Finding) String() string { return f.About("") }

// About is the finding in one line that begins with what was judged, such as
// Deployment "web"; it may be empty.
func (f Finding) About(subject string) string {
	path := f.Path
	if path == "" {
		path = "the object"
	}
	text := fmt.Sprintf("wanted %s, found %s", f.Wanted, f.Found)
	switch {
	case f.Message != "" && subject != "":
		return fmt.Sprintf("%s: %s (%s: %s)", subject, f.Message, path, text)
	case f.Message != "":
		return fmt.Sprintf("%s (%s: %s)", f.Message, path, text)
	case subject == "":
		return path + ": " + text
	case f.Path == "":
		return subject + ": " + text
	}
	return subject + ", " + path + ": " + text
}

// Policy is a compiled policy. It may be used by many at once.
type Policy struct {
	file *ast.File
	// idle are engines that wait for work; at most as many exist.
	idle chan *instance
	// left counts the engines that may still be made.
	left atomic.Int32
}

// instance is an engine with the policy in it. One evaluation uses it at a time.
type instance struct {
	ctx    *cue.Context
	policy cue.Value
	used   int
}

// endless are functions that make long values out of short ones, and would be the
// shortest way to a policy that never ends.
var endless = map[string][]string{
	"list":    {"Repeat", "Range", "Combinations"},
	"strings": {"Repeat"},
	"math":    {"Pow"},
}

// Compile checks a policy. What is wrong with it is returned in lines.
func Compile(name, source string) (*Policy, []string) {
	file, err := parser.ParseFile(name+".cue", source, parser.ParseComments)
	if err != nil {
		return nil, lines(err)
	}
	if problems := refused(file); len(problems) > 0 {
		return nil, problems
	}
	p := &Policy{file: file, idle: make(chan *instance, instances)}
	p.left.Store(instances - 1)
	i, problems := p.build()
	if len(problems) > 0 {
		return nil, problems
	}
	if !i.policy.LookupPath(cue.ParsePath(fieldObject)).Exists() && !i.policy.LookupPath(cue.ParsePath(fieldWarn)).Exists() {
		return nil, []string{"wanted a field object or warn, found neither, so the policy could never object; write: object: spec: replicas?: >=2"}
	}
	p.idle <- i
	return p, nil
}

// refused are the imports and calls that policies may not have.
func refused(file *ast.File) []string {
	var out []string
	names := map[string]string{} // what an import is called here -> what it is
	for spec := range file.ImportSpecs() {
		path := strings.Trim(spec.Path.Value, `"`)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
		if strings.Contains(path, ".") || strings.HasPrefix(path, "tool/") {
			out = append(out, fmt.Sprintf("%s: wanted imports of CUE's own packages, found %q", place(spec.Pos()), path))
		}
	}
	ast.Walk(file, func(n ast.Node) bool {
		if problem := badPattern(n); problem != "" {
			out = append(out, problem)
		}
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok1 := s.X.(*ast.Ident)
		label, ok2 := s.Sel.(*ast.Ident)
		if ok1 && ok2 && slices.Contains(endless[names[x.Name]], label.Name) {
			out = append(out, fmt.Sprintf("%s: wanted no call of %s.%s, which makes long values out of short ones", place(s.Pos()), x.Name, label.Name))
		}
		return true
	}, nil)
	return out
}

// badPattern is what is wrong with the pattern of =~ or !~, if it is written there. The engine
// reads it only when it has a text to compare.
func badPattern(n ast.Node) string {
	var op token.Token
	var operand ast.Expr
	switch x := n.(type) {
	case *ast.UnaryExpr:
		op, operand = x.Op, x.X
	case *ast.BinaryExpr:
		op, operand = x.Op, x.Y
	}
	text, ok := operand.(*ast.BasicLit)
	if (op != token.MAT && op != token.NMAT) || !ok || text.Kind != token.STRING {
		return ""
	}
	pattern, err := literal.Unquote(text.Value)
	if err != nil {
		return "" // the engine says it
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return fmt.Sprintf("%s: wanted a regular expression after %s, found: %v", place(text.Pos()), op, err)
	}
	return ""
}

// build makes an engine.
func (p *Policy) build() (_ *instance, problems []string) {
	defer func() {
		if r := recover(); r != nil {
			problems = []string{fmt.Sprintf("the CUE engine failed: %v", r)}
		}
	}()
	ctx := cuecontext.New()
	v := ctx.BuildFile(p.file)
	if err := v.Err(); err != nil {
		return nil, lines(err)
	}
	if err := v.Validate(); err != nil {
		return nil, lines(err)
	}
	return &instance{ctx: ctx, policy: v}, nil
}

// Judge says what a policy has against an object. Raw is the object and input what the
// policy may refer to by that name, both JSON. Ended is closed when nobody waits any more,
// and may be nil; an evaluation that has begun runs on all the same.
func (p *Policy) Judge(ended <-chan struct{}, raw, input []byte) (denials, warnings []Finding, err error) {
	if len(raw)+len(input) > 2*MaxInput {
		return nil, nil, ErrInputSize
	}
	i, err := p.take(ended)
	if err != nil {
		return nil, nil, err
	}
	whole := false
	defer func() {
		if whole {
			p.give(i)
			return
		}
		p.left.Add(1) // it may be broken
	}()
	denials, warnings, err = i.judge(raw, input)
	whole = true
	return denials, warnings, err
}

var errEnded = errors.New("waiting for the CUE engine: nobody waits any more")

// take waits for an engine that is free, or makes one.
func (p *Policy) take(ended <-chan struct{}) (*instance, error) {
	select {
	case i := <-p.idle:
		return i, nil
	default:
	}
	if p.left.Add(-1) >= 0 {
		i, problems := p.build()
		if len(problems) > 0 {
			p.left.Add(1)
			return nil, errors.New(strings.Join(problems, "; "))
		}
		return i, nil
	}
	p.left.Add(1)
	select {
	case i := <-p.idle:
		return i, nil
	case <-ended:
		return nil, errEnded
	}
}

// give returns an engine. One that was used often is let go, and the next one who needs it
// makes another.
func (p *Policy) give(i *instance) {
	if i.used++; i.used >= uses {
		if fresh, problems := p.build(); len(problems) == 0 {
			i = fresh
		}
	}
	p.idle <- i
}

func (i *instance) judge(raw, input []byte) (denials, warnings []Finding, err error) {
	object, err := i.read(raw)
	if err != nil {
		return nil, nil, err
	}
	policy := i.policy
	if len(input) > 0 {
		in, err := i.read(input)
		if err != nil {
			return nil, nil, err
		}
		policy = policy.FillPath(cue.ParsePath(fieldInput), in)
		if err := policy.LookupPath(cue.ParsePath(fieldInput)).Err(); err != nil {
			return nil, nil, fmt.Errorf("the policy's field input does not take the input: %s", strings.Join(lines(err), "; "))
		}
	}
	return i.conflicts(policy.LookupPath(cue.ParsePath(fieldObject)), object, raw),
		i.conflicts(policy.LookupPath(cue.ParsePath(fieldWarn)), object, raw), nil
}

func (i *instance) read(raw []byte) (cue.Value, error) {
	x, err := cuejson.Extract("", raw)
	if err != nil {
		return cue.Value{}, fmt.Errorf("reading JSON: %w", err)
	}
	v := i.ctx.BuildExpr(x)
	if err := v.Err(); err != nil {
		return cue.Value{}, fmt.Errorf("reading JSON: %w", err)
	}
	return v, nil
}

// conflicts are those of an object, which raw is as JSON, with a schema.
func (i *instance) conflicts(schema, object cue.Value, raw []byte) []Finding {
	if !schema.Exists() {
		return nil
	}
	unified := schema.Unify(object)
	err := unified.Validate(cue.Concrete(true), cue.Final())
	var out []Finding
	seen, known := map[string]bool{}, map[string]bool{}
	if err != nil {
		mistakes := cueerrors.Errors(err)
		x := &explainer{instance: i, schema: schema, object: object, raw: raw}
		x.decide(mistakes)
		for _, e := range mistakes {
			f := x.explain(e)
			if key := f.String(); !seen[key] {
				seen[key], known[f.Path] = true, true
				out = append(out, f)
			}
		}
		unified = x.decided
	}
	if unified.Exists() {
		out = append(out, i.missing(unified, raw, known)...)
	}
	// One conflict is reported once for each way to it, the ways being longer paths.
	slices.SortStableFunc(out, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	if more := len(out) - maxFindings; more > 0 {
		out = append(out[:maxFindings], Finding{Wanted: "no conflicts", Found: fmt.Sprintf("%d more than are listed", more)})
	}
	return out
}

// lines has a line for each mistake that an error of the engine reports.
func lines(err error) []string {
	var out []string
	for _, e := range cueerrors.Errors(err) {
		if len(out) == maxLines {
			return append(out, "and more")
		}
		line := e.Error()
		if p := place(e.Position()); p != "" {
			line = p + ": " + line
		}
		out = append(out, line)
	}
	return out
}

func place(p token.Pos) string {
	if !p.IsValid() {
		return ""
	}
	return fmt.Sprintf("%d:%d", p.Line(), p.Column())
}
