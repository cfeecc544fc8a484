package eval_test

import (
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// plainSource is a policy that objects to everything.
func plainSource() eval.Source {
	return eval.Source{Name: "p", Rego: "package p\ndeny contains \"x\" if true"}
}

func TestWordsThatNothingCanEqualAreRefused(t *testing.T) {
	match := func(m v1alpha1.PolicyMatch) func(*eval.Source) { return func(s *eval.Source) { s.Match = m } }
	kinds := func(group string, kinds ...string) func(*eval.Source) {
		return match(v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: group, Kinds: kinds}}})
	}
	in := func(e v1alpha1.Enforcement, namespaces ...string) func(*eval.Source) {
		return func(s *eval.Source) {
			s.EnforcementIn = []v1alpha1.NamespaceEnforcement{{Namespaces: namespaces, Enforcement: e}}
		}
	}
	for name, tc := range map[string]struct {
		change func(*eval.Source)
		want   string // empty: it is sound
	}{
		"a * inside of a namespace":      {match(v1alpha1.PolicyMatch{Namespaces: []string{"shop-*-prod"}}), `match.namespaces[0]: wanted the name of a namespace, with * at its beginning or end at most, found "shop-*-prod"`},
		"a ? in an excluded one":         {match(v1alpha1.PolicyMatch{ExcludedNamespaces: []string{"a", "sh?p-*"}}), `match.excludedNamespaces[1]: wanted the name`},
		"a namespace that is empty":      {match(v1alpha1.PolicyMatch{Namespaces: []string{""}}), `found ""`},
		"a namespace in capitals":        {match(v1alpha1.PolicyMatch{Namespaces: []string{"Shop"}}), `found "Shop"`},
		"an operation in lower case":     {match(v1alpha1.PolicyMatch{Operations: []string{"create"}}), `match.operations[0]: wanted one of CREATE, UPDATE, DELETE, CONNECT, *, found "create"`},
		"a verb of HTTP":                 {match(v1alpha1.PolicyMatch{Operations: []string{"CREATE", "PATCH"}}), `match.operations[1]`},
		"a * inside of a name":           {match(v1alpha1.PolicyMatch{Names: []string{"w*b"}}), `match.names[0]: wanted a name, with *`},
		"a * inside of a template":       {match(v1alpha1.PolicyMatch{Templates: []string{"w*b"}}), `match.templates[0]: wanted a name, with *`},
		"a group with its version":       {kinds("apps/v1", "Deployment"), `match.kinds[0].group: wanted an API group without its version, such as apps, or "", found "apps/v1"`},
		"a resource in place of a kind":  {kinds("apps", "deployments"), `match.kinds[0].kinds[0]: wanted a kind as it is written in objects, such as Deployment, found "deployments"`},
		"a kind with its group":          {kinds("", "Deployment.apps"), `match.kinds[0].kinds[0]: wanted a kind`},
		"no kinds of a group":            {kinds("apps"), `wanted at least one kind`},
		"an enforcement of a namespace":  {in("deny", "dev-*-x"), `enforcementIn[0].namespaces[0]: wanted the name`},
		"of no namespace":                {in("deny"), `enforcementIn[0].namespaces: wanted at least one name, found none`},
		"that is none":                   {in("", "dev"), `enforcementIn[0].enforcement: wanted one of deny, warn, dryrun, found ""`},
		"an enforcement that is none":    {func(s *eval.Source) { s.Enforcement = "block" }, `enforcement: wanted one of deny, warn, dryrun, found "block"`},
		"a moment that is none":          {func(s *eval.Source) { s.At = []v1alpha1.PolicyMoment{"sometimes"} }, `at[0]: wanted one of admission, release, promotion, found "sometimes"`},
		"a Rego that is none":            {func(s *eval.Source) { s.RegoVersion = "v2" }, `regoVersion: wanted one of v1, v0, found "v2"`},
		"a module that is long":          {func(s *eval.Source) { s.Rego += strings.Repeat("\n# x", 35_000) }, `rego: wanted at most 128 KiB, found 136`},
		"a lib that is long":             {func(s *eval.Source) { s.Libs = []string{strings.Repeat("# x\n", 35_000)} }, `libs[0]: wanted at most 128 KiB`},
		"many libs":                      {func(s *eval.Source) { s.Libs = make([]string, 33) }, `libs: wanted at most 32, found 33`},
		"an outcome that is none":        {func(s *eval.Source) { s.Tests.Cases = []v1alpha1.PolicyCase{{Name: "x", Want: "refused"}} }, `tests.cases[0].want: wanted one of`},
		"wildcards at both ends":         {match(v1alpha1.PolicyMatch{Namespaces: []string{"*-shop-*", "*", "a-*", "*-b", "c"}, Names: []string{"*a.b-c:d*"}, Templates: []string{"web-*"}}), ""},
		"kinds of all sorts":             {match(v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "", Kinds: []string{"Pod"}}, {Group: "*", Kinds: []string{"*"}}, {Group: "example.com", Kinds: []string{"thing"}}}}), ""},
		"all operations":                 {match(v1alpha1.PolicyMatch{Operations: []string{"CREATE", "UPDATE", "DELETE", "CONNECT", "*"}}), ""},
		"an enforcement in a namespace":  {in("warn", "dev-*"), ""},
		"a name of RBAC, with its colon": {match(v1alpha1.PolicyMatch{Names: []string{"system:Node-*"}}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := plainSource()
			tc.change(&s)
			_, err := eval.Compile(s)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("wanted %q, found: %v", tc.want, err)
			}
		})
	}
}

// A policy that never took effect refuses what it matches. What it was meant to match by a
// list with a mistake is not known.
func TestWhatABrokenMatchWasMeantForIsRefused(t *testing.T) {
	deployment := []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"Deployment"}}}
	for name, tc := range map[string]struct {
		match v1alpha1.PolicyMatch
		kind  string
		want  bool
	}{
		"a namespace with a mistake is any namespace": {v1alpha1.PolicyMatch{Namespaces: []string{"sh*p"}, Kinds: deployment}, "Deployment", true},
		"the kinds still leave others out":            {v1alpha1.PolicyMatch{Namespaces: []string{"sh*p"}, Kinds: deployment}, "Pod", false},
		"an operation with a mistake is any":          {v1alpha1.PolicyMatch{Operations: []string{"create"}}, "Pod", true},
		"an exclusion with a mistake excludes none":   {v1alpha1.PolicyMatch{ExcludedNamespaces: []string{"shop", "x?"}}, "Pod", true},
		"names and templates likewise":                {v1alpha1.PolicyMatch{Names: []string{"w*b"}, Templates: []string{"w*b"}}, "Pod", true},
		"kinds likewise":                              {v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "apps/v1", Kinds: []string{"Deployment"}}}}, "Deployment", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := plainSource()
			s.Match = tc.match
			store := eval.NewStore()
			if err := store.Put(s); err == nil {
				t.Fatal("wanted it refused")
			}
			group := map[string]string{"Deployment": "apps"}[tc.kind]
			q := eval.Question{Moment: v1alpha1.AtAdmission, Group: group, Kind: tc.kind, Namespace: "shop", Operation: "CREATE", Input: input(t, `{"metadata": {"name": "web"}}`)}
			if got := len(store.Set().Judge(t.Context(), q).Denials) > 0; got != tc.want {
				t.Errorf("refused: %v", got)
			}
		})
	}
}
