// Package sandbox says which of the engine's functions policies may call, and bounds what
// one call of them can make.
//
// Importing it is enough for the bounds: they hold for every evaluation of the process,
// whoever starts it. Between two calls an evaluation can be cancelled, within one it
// cannot, so a single call must neither take all memory nor all time.
package sandbox

import (
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// withheld are functions that the engine does not mark as nondeterministic and that
// nevertheless have no place in a verdict. Some reach outside of the input: schemas can
// name remote files, and certificates are checked against the time of day. Others do
// work that no bound on their arguments keeps small.
var withheld = []string{
	"json.match_schema",
	"crypto.x509.parse_and_verify_certificates",
	"crypto.x509.parse_and_verify_certificates_with_options",
	"providers.aws.sign_req",
	"trace",
	"strings.render_template", // loops within loops
	"graph.reachable_paths",   // there may be more paths than atoms
}

// Capabilities is the set of functions that policies in this version of Rego may call:
// those whose result follows from their arguments.
func Capabilities(v ast.RegoVersion) *ast.Capabilities {
	if v == ast.RegoV0 {
		return capabilitiesV0()
	}
	return capabilitiesV1()
}

var (
	capabilitiesV0 = sync.OnceValue(func() *ast.Capabilities { return capabilities(ast.RegoV0) })
	capabilitiesV1 = sync.OnceValue(func() *ast.Capabilities { return capabilities(ast.RegoV1) })
)

func capabilities(v ast.RegoVersion) *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(v))
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool {
		return b.Nondeterministic || slices.Contains(withheld, b.Name)
	})
	caps.AllowNet = []string{}
	return caps
}

// Withheld says whether the engine has a function of this name that policies may not call.
func Withheld(name string) bool {
	name = strings.TrimSpace(name)
	has := func(list []*ast.Builtin) bool {
		return slices.ContainsFunc(list, func(b *ast.Builtin) bool { return b.Name == name })
	}
	return has(ast.CapabilitiesForThisVersion().Builtins) && !has(capabilitiesV1().Builtins)
}
