package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"tidegate.io/tidegate/policies/eval/sandbox"
)

const (
	// entryModule is the file name in the engine's messages, and the package that the
	// template's own module is renamed to. Both are those of Gatekeeper.
	entryModule = "template"
	libPrefix   = "libs"

	ruleViolation = "violation"
)

// withheldBuiltins are functions that reach outside of the process or show its
// environment, or cannot be bounded. Those that only read the clock or are random stay: a template may use them
// in Gatekeeper.
var withheldBuiltins = []string{
	"http.send",
	"net.lookup_ip_addr",
	"opa.runtime",
	// A schema may name a remote file.
	"json.match_schema",
	"json.verify_schema",
	"providers.aws.sign_req",
	// Their work is not bounded by the size of their arguments.
	"strings.render_template",
	"graph.reachable_paths",
}

// capabilities are what templates may call, in either version of Rego. What one call may
// make is bounded by package sandbox.
var capabilities = sync.OnceValue(func() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(slices.Clone(caps.Builtins), func(b *ast.Builtin) bool {
		return slices.Contains(withheldBuiltins, b.Name)
	})
	caps.AllowNet = []string{}
	return caps
})

// answerQuery reads the violations as Gatekeeper does: an element needs msg, may have
// details, and two with the same msg and details are one.
var answerQuery = sync.OnceValue(func() ast.Body {
	return ast.MustParseBodyWithOpts(
		`answer = {x | data.template.violation[r]; x := {"msg": r.msg, "details": object.get(r, "details", {})}}`,
		ast.ParserOptions{RegoVersion: ast.RegoV0},
	)
})

// wholeQuery asks for the violations at once, where they are a set: what answerQuery does
// with each of them costs more than most templates take to find that there are none.
var wholeQuery = sync.OnceValue(func() ast.Body {
	return ast.MustParseBodyWithOpts(`answer = data.template.violation`, ast.ParserOptions{RegoVersion: ast.RegoV0})
})

// regoPolicy is the code of a template in Rego.
type regoPolicy struct {
	compiler *ast.Compiler
	queries  ast.QueryCompiler
	query    ast.Body
	// whole is true where the query is wholeQuery.
	whole bool
}

// isSet says whether a module's violations are one set: violation[r] of anything else, such
// as an object or a set for each key, is whatever the engine makes of it.
func isSet(m *ast.Module) bool {
	for _, r := range m.Rules {
		if ruleName(r) == ruleViolation && (r.Head.RuleKind() != ast.MultiValue || len(r.Head.Ref()) != 1) {
			return false
		}
	}
	return true
}

// compileRego compiles the modules of one template, alone.
func compileRego(s RegoSource) (*regoPolicy, error) {
	version := ast.RegoV0
	if s.V1 {
		version = ast.RegoV1
	}
	entry, err := parseModule(entryModule, s.Rego, version)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(entry.Rules, func(r *ast.Rule) bool { return ruleName(r) == ruleViolation }) {
		return nil, fmt.Errorf("wanted a rule %s, found none; write: violation[{\"msg\": msg}] { ... }", ruleViolation)
	}
	if err := checkReferences(entry); err != nil {
		return nil, err
	}
	entry.Package.Path = ast.Ref{ast.DefaultRootDocument, ast.StringTerm(entryModule)}
	modules := map[string]*ast.Module{entryModule: entry}
	for i, source := range s.Libs {
		name := fmt.Sprintf(`%s["lib_%d"]`, libPrefix, i)
		lib, err := parseModule(name, source, version)
		if err != nil {
			return nil, err
		}
		if path := lib.Package.Path; len(path) < 3 || !path.HasPrefix(libRef) {
			return nil, fmt.Errorf("%s: wanted a package below lib, found %s; write: package lib.NAME", name, lib.Package)
		}
		if err := checkReferences(lib); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		modules[name] = lib
	}
	compiler := sandbox.BoundTypes(ast.NewCompiler()).WithCapabilities(capabilities())
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, explain(compiler.Errors)
	}
	p := &regoPolicy{compiler: compiler, queries: compiler.QueryCompiler()}
	// Compiling it checks that violations can have a msg, also where it is not asked.
	if p.query, err = p.queries.Compile(answerQuery()); err != nil {
		return nil, fmt.Errorf("wanted violations such as violation[{\"msg\": msg}], found others, so the template could never object: %w", err)
	}
	if p.whole = isSet(entry); p.whole {
		if p.query, err = compiler.QueryCompiler().Compile(wholeQuery()); err != nil {
			return nil, fmt.Errorf("preparing the query: %w", err)
		}
	}
	return p, nil
}

func parseModule(name, source string, version ast.RegoVersion) (*ast.Module, error) {
	if strings.TrimSpace(source) == "" {
		return nil, fmt.Errorf("%s: wanted a Rego module, found nothing", name)
	}
	module, err := ast.ParseModuleWithOpts(name, source, ast.ParserOptions{RegoVersion: version, Capabilities: capabilities()})
	if err != nil {
		return nil, err
	}
	if module == nil {
		return nil, fmt.Errorf("%s: wanted a Rego module, found only comments", name)
	}
	return module, nil
}

func ruleName(r *ast.Rule) string {
	ref := r.Head.Ref()
	if len(ref) == 0 {
		return ""
	}
	name, _ := ref[0].Value.(ast.Var)
	return string(name)
}

var (
	libRef       = ast.MustParseRef("data.lib")
	inventoryRef = ast.MustParseRef("data.inventory")
	inputRef     = ast.Ref{ast.InputRootDocument}
)

// checkReferences refuses what Gatekeeper refuses: imports of anything but libraries, and
// data other than libraries and the inventory.
func checkReferences(m *ast.Module) error {
	for _, i := range m.Imports {
		ref, ok := i.Path.Value.(ast.Ref)
		switch {
		case !ok:
			return fmt.Errorf("import %s: wanted a reference", i.Path)
		case ref.HasPrefix(inputRef):
			return fmt.Errorf("import %s: input cannot be imported; write input.review where it is needed", i.Path)
		case ref.HasPrefix(libRef), ref[0].Equal(ast.FutureRootDocument), ref.Equal(ast.RegoV1CompatibleRef):
		default:
			return fmt.Errorf("import %s: wanted data.lib.NAME or future.keywords", i.Path)
		}
	}
	var found error
	for _, rule := range m.Rules {
		ast.WalkRefs(rule, func(ref ast.Ref) bool {
			if len(ref) > 0 && ref[0].Equal(ast.DefaultRootDocument) && !ref.HasPrefix(libRef) && !ref.HasPrefix(inventoryRef) {
				found = fmt.Errorf("%s: wanted a reference to data.lib or data.inventory", ref)
			}
			return true
		})
	}
	return found
}

// explain adds why a function is missing, for those that are withheld on purpose.
func explain(list ast.Errors) error {
	for _, e := range list {
		name, ok := strings.CutPrefix(e.Message, "undefined function ")
		switch {
		case ok && slices.Contains(withheldBuiltins, strings.TrimSpace(name)):
			return fmt.Errorf("%w (no policy may call it, since it reaches outside of the policy or its work has no bound)", list)
		case ok && strings.TrimSpace(name) == "external_data":
			return fmt.Errorf("%w (providers of external data are not supported)", list)
		}
	}
	if len(list) == 0 {
		return errors.New("it does not compile, and the engine does not say why")
	}
	return list
}
