package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

// none fails for each violation of a rule.
func none(t *testing.T, violations []string) {
	t.Helper()
	for _, v := range violations {
		t.Error(v)
	}
}

// only fails unless there is exactly one violation for each of the parts, in order.
func only(t *testing.T, violations []string, parts ...string) {
	t.Helper()
	if len(violations) != len(parts) {
		t.Fatalf("wanted %d violations, found %d:\n%s", len(parts), len(violations), strings.Join(violations, "\n"))
	}
	for i, v := range violations {
		if !strings.Contains(v, parts[i]) {
			t.Errorf("wanted %q in %q", parts[i], v)
		}
	}
}

func loadRepository(t *testing.T) Graph {
	t.Helper()
	g, err := Load(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestTheHouseKeepsItsImportRules(t *testing.T) {
	g := loadRepository(t)
	// The rules would hold of an empty graph too.
	for _, p := range pure {
		if len(g.get(p).Imports) == 0 {
			t.Errorf("package %s was not found", p)
		}
	}
	none(t, ImportsGoDown(g))
	none(t, GroundImportsNothing(g))
	none(t, CommandsAreTheTop(g))
	none(t, PureIsPure(g))
}

func TestTheHouseKeepsItsEnginesAtHome(t *testing.T) {
	files, err := Imports(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files were found", len(files))
	}
	none(t, EnginesStayHome(files))
}

func TestTheHouseHasNoClockInPureCode(t *testing.T) {
	found, err := PureCodeHasNoClock(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	none(t, found)
}

func TestEveryPackageOfTheHouseHasOneComment(t *testing.T) {
	found, err := OnePackageComment(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	none(t, found)
}

func TestEveryReasonOfTheHouseIsDocumented(t *testing.T) {
	codes, err := Codes(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(codes) == 0 {
		t.Fatal("no reason code was found")
	}
	doc, err := os.ReadFile(filepath.Join(root, ReasonsFile))
	if err != nil {
		t.Fatal(err)
	}
	none(t, ReasonsAreDocumented(codes, string(doc)))
}

// graph makes a graph of "package: imports" lines; ~ stands for the module.
func graph(lines ...string) Graph {
	g := Graph{}
	for _, line := range lines {
		line = strings.ReplaceAll(line, "~", Module)
		path, imports, _ := strings.Cut(line, ": ")
		g[path] = Package{ImportPath: path, Imports: strings.Fields(imports)}
	}
	return g
}

func TestImportsGoDownSeesWhatGoesUp(t *testing.T) {
	only(t, ImportsGoDown(graph(
		"~/schemas/v1alpha1: k8s.io/api",
		"~/schemas/render: ~/schemas/v1alpha1 ~/schemas/render/internal/values",
		"~/schemas/render/internal/values: ",
		"~/rollout/plan: ~/schemas/v1alpha1",
		"~/webhook: ~/webhook/gates ~/policies/eval",
		"~/webhook/gates: ",
		"~/policies/eval: ",
		"~/rollout/controller: ~/rollout/apply ~/rollout/observe",
		"~/rollout/apply: ~/rollout/observe",
		"~/rollout/observe: ~/rollout/plan",
		"~/cmd/tidegate: ~/cmd/internal/version ~/rollout/controller",
		"~/cmd/internal/version: ",
		"~/test/demo: ~/rollout/controller",
	)))
	only(t, ImportsGoDown(graph("~/rollout/plan: ~/rollout/apply")), "rollout/plan imports rollout/apply: imports go down")
	only(t, ImportsGoDown(graph("~/rollout/plan: ~/rollout/analysis")), "rollout/plan imports rollout/analysis")
	only(t, ImportsGoDown(graph("~/webhook/gates: ~/rollout/controller", "~/rollout/controller: ~/webhook")),
		"rollout/controller imports webhook", "webhook/gates imports rollout/controller")
	only(t, ImportsGoDown(graph("~/webhook: ~/cmd/tidegate")), "webhook imports cmd/tidegate")
	only(t, ImportsGoDown(graph("~/rollout/apply: ~/test/gen")), "rollout/apply imports test/gen")
	only(t, ImportsGoDown(graph("~/utils: ")), "utils has no place in the house")
	only(t, ImportsGoDown(graph("~/rollout/planner: ")), "rollout/planner has no place in the house")
}

func TestGroundImportsNothingSeesAnImport(t *testing.T) {
	only(t, GroundImportsNothing(graph("~/schemas/v1alpha1: k8s.io/api ~/schemas/templates")), "schemas/v1alpha1 imports schemas/templates")
}

func TestCommandsAreTheTopSeesTests(t *testing.T) {
	g := graph("~/cmd/tidegate: ~/cmd/internal/version", "~/cmd/internal/version: ", "~/test/demo: ")
	only(t, CommandsAreTheTop(g))
	p := g.get("test/demo")
	p.XTestImports = []string{Module + "/cmd/internal/version"}
	g[p.ImportPath] = p
	only(t, CommandsAreTheTop(g), "test/demo imports cmd/internal/version")
}

func TestPureIsPureSeesThroughOthers(t *testing.T) {
	only(t, PureIsPure(graph(
		"~/rollout/plan: ~/schemas/v1alpha1 time", "~/schemas/v1alpha1: k8s.io/apimachinery/pkg/runtime", "k8s.io/apimachinery/pkg/runtime: net/http os",
		"~/rollout/notify/rules: net/url",
		"~/rollout/apply: sigs.k8s.io/controller-runtime/pkg/client",
	)))
	only(t, PureIsPure(graph("~/rollout/plan: ~/schemas/v1alpha1", "~/schemas/v1alpha1: k8s.io/client-go/kubernetes/scheme")),
		"rollout/plan is pure but rests on a client: "+Module+"/schemas/v1alpha1 -> k8s.io/client-go/kubernetes/scheme")
	only(t, PureIsPure(graph("~/schemas/render/internal/values: sigs.k8s.io/controller-runtime")), "schemas/render/internal/values is pure but rests on a client")
	only(t, PureIsPure(graph("~/rollout/notify/rules: net/url net")), "rollout/notify/rules is pure but imports net")
	only(t, PureIsPure(graph("~/policies/eval: net/http", "~/rollout/analysis: math/rand/v2", "~/schemas/render: os/exec")),
		"policies/eval is pure but imports net/http", "rollout/analysis is pure but imports math/rand/v2", "schemas/render is pure but imports os/exec")
}

func TestEnginesStayHomeSeesTheFile(t *testing.T) {
	files, err := Imports(fstest.MapFS{
		"schemas/render/render.go": {Data: []byte(`package render; import "cuelang.org/go/cue"`)},
		"policies/eval/eval.go":    {Data: []byte(`package eval; import "github.com/open-policy-agent/opa/v1/rego"`)},
		"webhook/certs/certs.go":   {Data: []byte(`package certs; import "github.com/open-policy-agent/cert-controller/pkg/rotator"`)},
		"webhook/metrics.go":       {Data: []byte(`package webhook; import "github.com/prometheus/client_golang/prometheus"`)},
		"webhook/hook.go":          {Data: []byte(`package webhook; import p "github.com/prometheus/client_golang/prometheus"`)},
		"webhook/hook_test.go":     {Data: []byte(`package webhook; import "cuelang.org/go/cue"`)},
		"rollout/prom/prom.go":     {Data: []byte(`package prom; import "github.com/prometheus/common/model"`)},
		"rollout/notify/send/w.go": {Data: []byte(`package send; import ("github.com/cloudevents/sdk-go/v2/event"; "github.com/nicholas-fedor/shoutrrr/pkg/router")`)},
		"rollout/notify/n.go":      {Data: []byte(`package notify; import ("github.com/cloudevents/sdk-go/v2/event"; "github.com/nicholas-fedor/shoutrrr/pkg/router")`)},
		"rollout/plan/plan.go":     {Data: []byte(`package plan; import ("cuelang.org/go/cue"; "github.com/open-policy-agent/opa/v1/ast")`)},
		"test/demo/demo.go":        {Data: []byte(`package demo; import "github.com/prometheus/common/model"`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	only(t, EnginesStayHome(files),
		"rollout/notify/n.go imports github.com/cloudevents/sdk-go/v2/event: CloudEvents is imported in rollout/notify/send and rollout/hook alone",
		"rollout/notify/n.go imports github.com/nicholas-fedor/shoutrrr/pkg/router: the sender library is imported in rollout/notify/send alone",
		"rollout/plan/plan.go imports cuelang.org/go/cue: CUE is imported in schemas/render and policies/eval/cuepolicy alone",
		"rollout/plan/plan.go imports github.com/open-policy-agent/opa/v1/ast: OPA is imported in policies/eval alone",
		"webhook/hook.go imports github.com/prometheus/client_golang/prometheus: Prometheus is imported in rollout/prom and metrics.go alone")
}

func TestPureCodeHasNoClockSeesEachWay(t *testing.T) {
	found, err := PureCodeHasNoClock(fstest.MapFS{
		"rollout/plan/ok.go":           {Data: []byte("package plan\nimport \"time\"\nvar D = time.Second\nvar T time.Time\n")},
		"rollout/plan/plan_test.go":    {Data: []byte("package plan\nimport \"time\"\nvar _ = time.Now()\n")},
		"rollout/plan/now.go":          {Data: []byte("package plan\nimport \"time\"\nvar now = time.Now\n")},
		"rollout/analysis/alias.go":    {Data: []byte("package analysis\nimport clock \"time\"\nvar _ = clock.Since(clock.Time{})\n")},
		"schemas/render/dot.go":        {Data: []byte("package render\nimport . \"time\"\nvar _ = Now()\n")},
		"schemas/render/internal/x.go": {Data: []byte("package internal\n")},
		"rollout/controller/loop.go":   {Data: []byte("package controller\nimport \"time\"\nvar _ = time.Now()\n")},
		"policies/eval/testdata/x.go":  {Data: []byte("package x\nimport \"time\"\nvar _ = time.Now()\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	only(t, found, "rollout/analysis/alias.go:3:9 uses time.Since", "rollout/plan/now.go:3:11 uses time.Now", "schemas/render/dot.go imports package time into its own scope")
}

func TestOnePackageCommentCounts(t *testing.T) {
	found, err := OnePackageComment(fstest.MapFS{
		"good/a.go":             {Data: []byte("// Package good is.\npackage good\n")},
		"good/b.go":             {Data: []byte("package good\n")},
		"good/a_test.go":        {Data: []byte("// A remark.\npackage good\n")},
		"cmd/tool/main.go":      {Data: []byte("// Command tool is.\npackage main\n")},
		"cmd/odd/main.go":       {Data: []byte("// Package main is.\npackage main\n")},
		"none/a.go":             {Data: []byte("// Copyright someone.\n\npackage none\n")},
		"two/a.go":              {Data: []byte("// Package two is.\npackage two\n")},
		"two/b.go":              {Data: []byte("// Package two is.\npackage two\n")},
		"wrong/a.go":            {Data: []byte("// This package is.\npackage wrong\n")},
		"directive/a.go":        {Data: []byte("//go:build linux\n\n// Package directive is.\npackage directive\n")},
		"only/tests_test.go":    {Data: []byte("// Package only tests.\npackage only_test\n")},
		"bare/tests_test.go":    {Data: []byte("package bare\n")},
		"x/testdata/fixture.go": {Data: []byte("package fixture\n")},
		".git/x.go":             {Data: []byte("package git\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	only(t, found, "bare has no package comment", `cmd/odd/main.go: wanted a package comment that begins with "Command"`,
		"none has no package comment", "two has 2 package comments, in two/a.go, two/b.go", `wrong/a.go: wanted a package comment that begins with "Package wrong", found "This package is."`)
}

func TestReasonsAreDocumentedComparesBothWays(t *testing.T) {
	codes, err := Codes(fstest.MapFS{
		"webhook/a.go":               {Data: []byte("const a = \"TG-GATE-BYPASS\" // TG-...\n")},
		"webhook/a_test.go":          {Data: []byte("const b = \"TG-TEST-ONLY\"\n")},
		"webhook/testdata/x.go":      {Data: []byte("const c = \"TG-FIXTURE\"\n")},
		"policies/library/p/p.rego":  {Data: []byte("msg := \"TG-IMAGE-REGISTRY: no\"\n")},
		"policies/library/p/_t.yaml": {Data: []byte("code: TG-YAML2\n")},
		"test/demo/demo.go":          {Data: []byte("const d = \"TG-DEMO\"\n")},
		"README.md":                  {Data: []byte("TG-README\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(codes) != 3 || codes["TG-GATE-BYPASS"] == nil || codes["TG-IMAGE-REGISTRY"] == nil || codes["TG-YAML2"] == nil {
		t.Errorf("found codes %v", codes)
	}
	whole := "\n**Meaning.** It is.\n\n**What to do.** Wait.\n\n"
	doc := "# Reasons\n## The gate\n### TG-GATE-BYPASS\n" + whole + "### TG-IMAGE-REGISTRY\n" + whole + "### TG-YAML2\n" + whole
	only(t, ReasonsAreDocumented(codes, doc))
	only(t, ReasonsAreDocumented(codes, strings.Replace(doc, "### TG-YAML2", "### More", 1)), "TG-YAML2 is not in docs/reasons.md (it is given in policies/library/p/_t.yaml)")
	only(t, ReasonsAreDocumented(codes, doc+"### TG-GONE\n"+whole), "docs/reasons.md documents TG-GONE, which nothing gives")
	only(t, ReasonsAreDocumented(codes, doc+"### TG-YAML2\n"+whole), "TG-YAML2 stands there twice")
	only(t, ReasonsAreDocumented(codes, strings.Replace(doc, "**What to do.** Wait.", "**What to do.**", 1)), `the entry of TG-GATE-BYPASS has no "**What to do.** ..."`)
}
