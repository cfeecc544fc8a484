package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Files of a scenario in a txtar archive.
const (
	// ScenarioFile is the scenario.
	ScenarioFile = "scenario.yaml"
	// StrategyFile is the strategy, where the scenario has none.
	StrategyFile = "strategy.yaml"
	// WantFile is the output that is expected.
	WantFile = "want"
)

// MalformedError is a scenario with mistakes.
type MalformedError struct {
	// Lines are the mistakes, each with file and line.
	Lines []string
}

func (e *MalformedError) Error() string { return strings.Join(e.Lines, "\n") }

// Parse reads a scenario: a YAML document or, where the name ends in .txtar, an archive
// with one. Strategy is used where the scenario has none; nil where there is none either.
// The error is a *MalformedError.
func Parse(file string, data []byte, strategy *v1alpha1.Strategy) (*Scenario, error) {
	r := &reader{file: file}
	p := &parser{reader: r, s: &Scenario{File: file}}
	if strategy != nil {
		p.s.Strategy, p.given = *strategy, true
	}
	doc := data
	if IsArchive(file, data) {
		doc = p.archive(data)
	}
	if len(r.problems) == 0 {
		if root := r.document(doc); root != nil {
			p.scenario(root)
		}
	}
	if len(r.problems) > 0 {
		return nil, &MalformedError{Lines: r.problems}
	}
	return p.s, nil
}

var scenarioMarker = regexp.MustCompile(`(?m)^-- ` + regexp.QuoteMeta(ScenarioFile) + ` --\s*$`)

// IsArchive says whether a file is a txtar archive: by its name, or by the line that a scenario
// begins with there.
func IsArchive(file string, data []byte) bool {
	return strings.EqualFold(path.Ext(file), ".txtar") || scenarioMarker.Match(data)
}

type parser struct {
	*reader
	s *Scenario
	// given is true where the strategy comes from elsewhere.
	given bool
	// codes are the reason codes that are said anywhere.
	codes []saidCode
}

// archive takes an archive apart and returns the scenario in it.
func (p *parser) archive(data []byte) []byte {
	a := txtar.Parse(data)
	p.s.Comment = string(bytes.TrimSpace(a.Comment))
	if p.s.Comment == "" {
		p.failf(nil, "", "wanted some sentences at the top that say what happens, found none; write them above the first file")
	}
	var doc []byte
	for i, f := range a.Files {
		if slices.ContainsFunc(a.Files[:i], func(o txtar.File) bool { return o.Name == f.Name }) {
			p.failf(nil, f.Name, "wanted the file once, found it again; remove one of them")
		}
		switch f.Name {
		case ScenarioFile:
			doc = f.Data
			p.before = linesBefore(data, f.Name)
		case StrategyFile:
			was := p.before
			p.before = linesBefore(data, f.Name)
			if root := p.document(f.Data); root != nil {
				p.strategy(root, "strategy")
			}
			p.before = was
		case WantFile:
			p.s.Want, p.s.HasWant = string(f.Data), true
		default:
			p.failf(nil, f.Name, "wanted the files %s, %s and %s, found another; remove it", ScenarioFile, StrategyFile, WantFile)
		}
	}
	if doc == nil {
		p.failf(nil, "", "wanted a file %s in the archive, found none; begin it with the line -- %s --", ScenarioFile, ScenarioFile)
	}
	return doc
}

// linesBefore counts the lines of an archive up to and with a file's marker.
func linesBefore(data []byte, name string) int {
	for i, line := range strings.Split(string(data), "\n") {
		if strings.TrimSpace(line) == "-- "+name+" --" {
			return i + 1
		}
	}
	return 0
}

// WithWant returns an archive with other expected output; what is no archive becomes none.
func WithWant(data []byte, want string) []byte {
	a := txtar.Parse(data)
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == WantFile })
	a.Files = append(a.Files, txtar.File{Name: WantFile, Data: []byte(want)})
	return txtar.Format(a)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// document reads one YAML document.
func (r *reader) document(data []byte) *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			r.failf(nil, "", "wanted a scenario, found nothing; see docs/simulate.md")
			return nil
		}
		at := &yaml.Node{Line: 1}
		text := err.Error()
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			at.Line, _ = strconv.Atoi(m[1])
			text = strings.TrimPrefix(text, m[0])
		}
		r.failf(at, "", "wanted YAML, found: %s; correct it", strings.TrimPrefix(text, "yaml: "))
		return nil
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		r.failf(nil, "", "wanted one document, found more; put each scenario into a file of its own")
		return nil
	}
	if n := borrowed(doc.Content[0]); n != nil {
		r.failf(n, "", "wanted values that are written out, found %q, which stands for others; write those in its place", n.Value)
		return nil
	}
	return doc.Content[0]
}

// borrowed finds an alias or a merge, nil where there is none.
func borrowed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode || n.Tag == "!!merge" {
		return n
	}
	for _, below := range n.Content {
		if found := borrowed(below); found != nil {
			return found
		}
	}
	return nil
}

func (p *parser) scenario(n *yaml.Node) {
	s := p.s
	s.Release, s.Revision, s.Replicas, s.Until = "app", "v2", -1, longest
	s.Router, s.Workload = v1alpha1.RouterHTTPRoute, WorkloadDeployment
	s.Defaults = Defaults{
		Start: 5 * time.Second, Accept: time.Second, Restart: 5 * time.Second, Verdict: v1alpha1.VerdictPass,
		Hook: HookAnswer{Answer: HookPasses, Takes: time.Second}, Job: JobOutcome{Outcome: JobSucceeds, Takes: 10 * time.Second},
	}
	seen := p.fields(n, "",
		field{"strategy", p.strategy},
		field{"release", p.text(&s.Release)},
		field{"revision", p.text(&s.Revision)},
		field{"replicas", p.number(&s.Replicas, 0, maxPods)},
		field{"stable", p.stable},
		field{"history", p.texts(&s.History)},
		field{"router", oneOf(p.reader, &s.Router, v1alpha1.RouterHTTPRoute, v1alpha1.RouterGRPCRoute, v1alpha1.RouterVirtualService, v1alpha1.RouterService)},
		field{"workload", oneOf(p.reader, &s.Workload, WorkloadDeployment, WorkloadStatefulSet, WorkloadDaemonSet)},
		field{"load", p.number(&s.Load, 1, maxPods)},
		field{"defaults", p.defaults},
		field{"timeline", func(n *yaml.Node, path string) { p.items(n, path, p.entry) }},
		field{"until", p.duration(&s.Until, time.Second)},
		field{"expect", p.expect},
	)
	p.checkCodes()
	p.whole(n, seen)
}

// maxPods bounds sizes, so that the model stays small.
const maxPods = 1000

// whole checks what several fields say together.
func (p *parser) whole(n *yaml.Node, seen map[string]*yaml.Node) {
	s := p.s
	if n.Kind != yaml.MappingNode {
		return
	}
	if !p.given {
		p.failf(n, "strategy", "wanted a strategy, found none; write one in the shape of a template's rollout field")
		return
	}
	p.sizes(n, seen)
	rolling := !s.Strategy.Type.InSets()
	switch {
	case s.changes():
		p.change(seen)
	case rolling && seen["router"] != nil:
		p.failf(seen["router"], "router", "wanted none with rolling, found one; leave it out")
	case !rolling && s.Workload != WorkloadDeployment:
		p.failf(seen["workload"], "workload", "wanted Deployment with %s, found %q; leave it out, or use rolling", s.Strategy.Type, s.Workload)
	case rolling && seen["load"] != nil:
		p.failf(seen["load"], "load", "wanted none with rolling, found one; leave it out")
	case rolling:
		s.Router = ""
		p.partitions(s.Strategy, seen["strategy"])
	}
}

// sizes finds out how many pods there are to be.
func (p *parser) sizes(n *yaml.Node, seen map[string]*yaml.Node) {
	s := p.s
	if s.Replicas < 0 && s.Stable != nil {
		s.Replicas = s.Stable.Replicas
	}
	if seen["replicas"] == nil && seen["stable"] == nil {
		p.failf(n, "replicas", "wanted the number of pods, found none; write replicas")
	}
	if len(s.History) > 0 && s.Stable == nil {
		p.failf(seen["history"], "history", "wanted a stable revision beside it, found none; write stable, or leave history out")
	}
}

// partitions refuses shares that only a StatefulSet can have.
func (p *parser) partitions(s v1alpha1.Strategy, at *yaml.Node) {
	if p.s.Workload == WorkloadStatefulSet {
		return
	}
	for i, step := range s.Steps {
		if w := step.SetWeight; w != nil && *w != full {
			p.failf(at, fmt.Sprintf("strategy.steps[%d].setWeight", i), "wanted %d with rolling of a %s, found %d; only a StatefulSet has shares, by its partition", full, p.s.Workload, *w)
		}
	}
}

func (p *parser) stable(n *yaml.Node, path string) {
	s := &Served{Revision: "v1", Replicas: -1}
	seen := p.fields(n, path,
		field{"revision", p.text(&s.Revision)},
		field{"replicas", p.number(&s.Replicas, 0, maxPods)},
		field{"strategy", oneOf(p.reader, &s.Strategy, v1alpha1.StrategyCanary, v1alpha1.StrategyBlueGreen, v1alpha1.StrategyRolling)},
	)
	if n.Kind == yaml.MappingNode && seen["replicas"] == nil {
		p.failf(n, path+".replicas", "wanted the number of pods that serve, found none; write it")
	}
	p.s.Stable = s
}

// strategy reads a strategy by the check that templates are held to.
func (p *parser) strategy(n *yaml.Node, path string) {
	if p.given {
		p.failf(n, path, "wanted one strategy, found another beside it; remove one of them")
		return
	}
	p.given = true
	p.s.Strategy = p.checked(n, path)
}

func (p *parser) checked(n *yaml.Node, path string) v1alpha1.Strategy {
	var said any
	err := n.Decode(&said)
	var text []byte
	if err == nil {
		text, err = json.Marshal(said)
	}
	if err != nil {
		p.failf(n, path, "wanted a strategy, found: %v; correct it", err)
		return v1alpha1.Strategy{}
	}
	strategy, lines := render.CheckStrategy(text)
	for _, line := range lines {
		where, said, _ := strings.Cut(line, ": ")
		where = strings.TrimPrefix(where, "rollout")
		p.failf(locate(n, where), path+where, "%s; see docs/strategies.md", said)
	}
	return strategy
}

var pathPart = regexp.MustCompile(`\.([A-Za-z]+)|\[(\d+)\]`)

// locate finds the node of a path such as .steps[2].setWeight, or the nearest above it.
func locate(n *yaml.Node, path string) *yaml.Node {
	for _, m := range pathPart.FindAllStringSubmatch(path, -1) {
		below := childOf(n, m[1], m[2])
		if below == nil {
			return n
		}
		n = below
	}
	return n
}

func childOf(n *yaml.Node, name, index string) *yaml.Node {
	if name == "" {
		if i, err := strconv.Atoi(index); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			return n.Content[i]
		}
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func (p *parser) defaults(n *yaml.Node, path string) {
	d := &p.s.Defaults
	p.fields(n, path,
		field{"start", p.duration(&d.Start, 0)},
		field{"accept", p.duration(&d.Accept, 0)},
		field{"restart", p.duration(&d.Restart, time.Second)},
		field{"verdict", oneOf(p.reader, &d.Verdict, verdicts...)},
		field{"hook", func(n *yaml.Node, path string) { p.hook(n, path, &d.Hook) }},
		field{"job", func(n *yaml.Node, path string) { p.job(n, path, &d.Job) }},
	)
}

var (
	verdicts = []v1alpha1.Verdict{v1alpha1.VerdictPass, v1alpha1.VerdictFail, v1alpha1.VerdictInconclusive, v1alpha1.VerdictUnknown}
	phases   = []string{
		string(v1alpha1.RolloutPending), string(v1alpha1.RolloutProgressing), string(v1alpha1.RolloutPromoting),
		string(v1alpha1.RolloutSucceeded), string(v1alpha1.RolloutAborting), string(v1alpha1.RolloutAborted),
	}
)

func (p *parser) expect(n *yaml.Node, path string) {
	e := &p.s.Expect
	e.Line = p.before + n.Line
	highest := int32(-1)
	p.fields(n, path,
		field{"outcome", oneOf(p.reader, &e.Outcome, v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting,
			v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborting, v1alpha1.RolloutAborted)},
		field{"serving", p.text(&e.Serving)},
		field{"highestWeight", p.number(&highest, 0, full)},
		field{"within", p.duration(&e.Within, time.Second)},
		field{"atRisk", p.duration(&e.AtRisk, 0)},
		field{"reasons", p.codeList(&e.Reasons)},
		field{"refused", p.codeList(&e.Refused)},
		field{"never", p.conditions(&e.Never)},
		field{"always", p.conditions(&e.Always)},
	)
	if highest >= 0 {
		e.Highest = &highest
	}
}

func (p *parser) conditions(into *[]Condition) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		p.items(n, path, func(n *yaml.Node, path string) {
			if c := p.condition(n, path); c != nil {
				*into = append(*into, *c)
			}
		})
	}
}

func (p *parser) condition(n *yaml.Node, path string) *Condition {
	text, ok := p.scalar(n, path, "a condition such as "+conditionHelp)
	if !ok {
		return nil
	}
	c, ok := parseCondition(text)
	if !ok {
		p.failf(n, path, "wanted a condition such as %s, found %q; write one of these", conditionHelp, text)
		return nil
	}
	if code, ok := strings.CutPrefix(c.Text, "reason "); ok {
		p.codes = append(p.codes, saidCode{node: n, path: path, code: code})
	}
	return &c
}
