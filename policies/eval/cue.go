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
	if len(s.Libs) > 0 {
		return nil, []string{"libs: wanted none, since the policy is in CUE, found some"}
	}
	p, problems := cuepolicy.Compile(s.Name, s.CUE)
	if len(problems) > 0 {
		return nil, problems
	}
	return cueEngine{p}, nil
}

// eval implements engine. What is judged is input.object, and the whole input where there
// is none, as at promotion.
func (e cueEngine) eval(s *budget.Step, document ast.Object) (answer, error) {
	object := at(document, "object")
	if object == nil {
		object = document
	}
	raw, err := plain(object)
	if err != nil {
		return answer{}, err
	}
	// What is judged is not also a part of the input: it would be read twice.
	rest := ast.NewObjectWithCapacity(document.Len())
	document.Foreach(func(k, v *ast.Term) {
		switch text(k.Value) {
		case "object":
		case "request":
			rest.Insert(k, ast.NewTerm(without(v.Value, "object")))
		default:
			rest.Insert(k, v)
		}
	})
	input, err := plain(rest)
	if err != nil {
		return answer{}, err
	}
	denials, warnings, err := e.policy.Judge(s.Done(), raw, input)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // the caller says what it did
	}
	return answer{denials: said(denials), warnings: said(warnings)}, nil
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

// said are findings as a rule in Rego would give them.
func said(list []cuepolicy.Finding) []any {
	out := make([]any, 0, len(list))
	for _, f := range list {
		out = append(out, map[string]any{
			"msg": f.String(), "fix": f.Fix, "code": f.Code,
			"details": map[string]any{"path": f.Path, "wanted": f.Wanted, "found": f.Found},
		})
	}
	return out
}
