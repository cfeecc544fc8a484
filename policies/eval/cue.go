package eval

import (
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

// cueEngine is a policy in CUE.
type cueEngine struct{ policy *cuepolicy.Policy }

// compileCUE compiles a policy in CUE.
func compileCUE(s Source) (engine, []string) {
	p, problems := cuepolicy.Compile(s.Name, s.CUE)
	if len(problems) > 0 {
		return nil, problems
	}
	return cueEngine{p}, nil
}

// eval implements engine.
func (e cueEngine) eval(s *budget.Step, document ast.Object) (answer, error) {
	q, err := apart(document)
	if err != nil {
		return answer{}, err
	}
	var parameters []byte
	if found := at(document, "parameters"); found != nil {
		if parameters, err = plain(found); err != nil {
			return answer{}, err
		}
	}
	denials, warnings, err := e.policy.Judge(s.Done(), q.Object, cuepolicy.WithParameters(q.Input, parameters))
	if err != nil {
		return answer{}, err //nolint:wrapcheck // the caller says what it did
	}
	return answer{denials: said(document, denials), warnings: said(document, warnings)}, nil
}

// plain is a value as JSON.
func plain(v ast.Value) ([]byte, error) {
	x, err := ast.JSON(v)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return raw, nil
}

// without is an object without a key.
func without(v ast.Value, key string) ast.Value {
	object, ok := v.(ast.Object)
	if !ok {
		return v
	}
	out := ast.NewObjectWithCapacity(object.Len())
	object.Foreach(func(k, v *ast.Term) {
		if text(k.Value) != key {
			out.Insert(k, v)
		}
	})
	return out
}

// subject is what is judged, as messages name it, such as Deployment "web".
func subject(document ast.Object) string {
	kind := text(at(document, "object", "kind"))
	if kind == "" {
		return ""
	}
	name := text(at(document, "object", "metadata", "name"))
	if prefix := text(at(document, "object", "metadata", "generateName")); name == "" && prefix != "" {
		name = prefix + "*"
	}
	if name == "" {
		return kind
	}
	return fmt.Sprintf("%s %q", kind, name)
}

// said are findings as a rule in Rego would give them.
func said(document ast.Object, list []cuepolicy.Finding) []any {
	out := make([]any, 0, len(list))
	for _, f := range list {
		out = append(out, map[string]any{
			"msg": f.About(subject(document)), "fix": f.Fix, "code": f.Code,
			"details": map[string]any{"path": f.Path, "wanted": f.Wanted, "found": f.Found},
		})
	}
	return out
}
