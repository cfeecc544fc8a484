package eval

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// PartMeasurements is the part of the input that takes queries to other systems; see Reads.
const PartMeasurements = "measurements"

// Reads says whether an answer to the question may depend on a part of the input, such as
// input.measurements, as far as can be told without the input.
func (s *Set) Reads(q Question, part string) bool {
	for _, p := range s.candidates(&q) {
		if p.reads(part) {
			return true
		}
	}
	return false
}

// reads says whether a policy may look at a part of the input. One in CUE may; one that
// cannot be evaluated looks at nothing.
func (p *Policy) reads(part string) bool {
	if e, ok := p.engine.(*regoEngine); ok {
		return e.reads.all || e.reads.parts[part]
	}
	return p.broken == nil
}

// parts are the parts of the input that a policy in Rego names.
type parts struct {
	parts map[string]bool
	// all is true where it takes the input as a whole, or a part by a name that it works out.
	all bool
}

// partsRead finds the parts that compiled modules read.
func partsRead(compiled map[string]*ast.Module) parts {
	out := parts{parts: map[string]bool{}}
	var look func(any)
	look = func(x any) {
		ast.WalkTerms(x, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case ast.Ref:
				out.add(v)
				for _, step := range v[1:] {
					look(step)
				}
				return true
			case ast.Var:
				out.all = out.all || t.Equal(ast.InputRootDocument)
			}
			return false
		})
	}
	for _, m := range compiled {
		for _, rule := range m.Rules {
			look(rule)
		}
	}
	return out
}

// add takes a reference into account.
func (p *parts) add(ref ast.Ref) {
	if !ref[0].Equal(ast.InputRootDocument) {
		return
	}
	if len(ref) > 1 {
		if name, ok := ref[1].Value.(ast.String); ok {
			p.parts[string(name)] = true
			return
		}
	}
	p.all = true
}
