package eval

import (
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// withheldBuiltins are functions that the engine does not mark as nondeterministic and
// that nevertheless reach outside of the input: schemas can name remote files, and
// certificates are checked against the time of day.
var withheldBuiltins = []string{
	"json.match_schema",
	"crypto.x509.parse_and_verify_certificates",
	"crypto.x509.parse_and_verify_certificates_with_options",
	"providers.aws.sign_req",
	"trace",
}

// sandbox is the set of built-in functions that policies may call: those whose result
// follows from their arguments.
var sandbox = sync.OnceValue(func() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool {
		return b.Nondeterministic || slices.Contains(withheldBuiltins, b.Name)
	})
	caps.AllowNet = []string{}
	return caps
})

// withheld says whether the engine has a function of this name that the sandbox lacks.
func withheld(name string) bool {
	name = strings.TrimSpace(name)
	has := func(list []*ast.Builtin) bool {
		return slices.ContainsFunc(list, func(b *ast.Builtin) bool { return b.Name == name })
	}
	return has(ast.CapabilitiesForThisVersion().Builtins) && !has(sandbox().Builtins)
}
