package attempt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidegate.io/tidegate/test/attack/internal/attempt"
)

const good = `about: One sentence.
kind: attempt
request:
  verb: create
  body: {apiVersion: v1, kind: Pod, metadata: {name: bare}}
expect: {result: denied}
`

func TestParse(t *testing.T) {
	for sentence, tc := range map[string]struct {
		text string
		// want is in the error; empty: there is none.
		want string
	}{
		"a file with everything that is needed":                   {good, ""},
		"a key that the format does not have":                     {good + "expects: {result: denied}\n", `found "expects"; was "expect" meant?`},
		"a key deep inside that it does not have":                 {strings.Replace(good, "verb: create", "verb: create\n  nane: bare", 1), `found "nane"; was "name" meant?`},
		"a key like no other":                                     {good + "zzzzzzzz: 1\n", `x.yaml:7: wanted one of the keys about, afterwards`},
		"a key in the second step of setup":                       {good + "setup:\n- wait: {object: {apiVersion: v1, resource: pods, name: x}, exists: true, within: 1s}\n- apply: {apiVersion: v1, kind: Pod, metadata: {name: x}}\n  ass: {user: a}\n", `x.yaml:10: wanted one of the keys apply, as, capture, request, wait, found "ass"; was "as" meant?`},
		"a key in an expectation":                                 {strings.Replace(good, "{result: denied}", "{result: denied, codes: TG-X}", 1), `x.yaml:6: wanted one of the keys code, field`},
		"any key in a body":                                       {strings.Replace(good, "name: bare}", "name: bare, nane: x}", 1), ""},
		"what is no YAML":                                         {good + "x: [\n", "x.yaml:"},
		"a result in a word":                                      {strings.Replace(good, "{result: denied}", "denied", 1), ""},
		"a result in full":                                        {strings.Replace(good, "{result: denied}", "denied by policy", 1), ""},
		"results without a mapping":                               {strings.Replace(good, "{result: denied}", "[denied by policy, rejected]", 1), ""},
		"a mistake in the second step has a line":                 {good + "setup:\n- wait: {object: {apiVersion: v1, resource: pods, name: x}, exists: true, within: 1s}\n- wait: {object: {apiVersion: v1, resource: pods, name: x}, exists: true}\n", "x.yaml:9: setup 2: wait: wanted within"},
		"a request of setup that is made until it is as expected": {good + "setup:\n- request: {verb: get, apiVersion: v1, resource: pods, name: a, within: 5s}\n", ""},
		"an attempt that is made until it is as expected":         {strings.Replace(good, "verb: create", "verb: create\n  within: 5s", 1), "x.yaml:3: request 1: within is for requests of setup"},
		"a key twice":                                             {good + "kind: legitimate\n", "x.yaml:7: mapping key \"kind\" already defined"},
		"a result that there is not":                              {strings.Replace(good, "denied", "refused", 1), `x.yaml:6: wanted denied, rejected, allowed or admitted, found "refused"`},
		"nothing at all":                                          {"", "x.yaml: wanted an attempt, found nothing"},
		"two documents":                                           {good + "---\n" + good, "wanted one attempt in a file, found another document"},
		"no sentence about it":                                    {strings.Replace(good, "about: One sentence.\n", "", 1), "about: wanted a sentence"},
		"a side that there is not":                                {strings.Replace(good, "kind: attempt", "kind: attack", 1), `kind: wanted attempt or legitimate, found "attack"`},
		"nothing expected":                                        {strings.Replace(good, "expect: {result: denied}\n", "", 1), "request 1: wanted an expectation, found none"},
		"an expectation without a result":                         {strings.Replace(good, "{result: denied}", "{code: TG-X}", 1), "expect: result: wanted"},
		"a request and a review":                                  {good + "review: {path: /gate}\n", "wanted exactly one of request, requests and review"},
		"no request":                                              {"about: x.\nkind: attempt\nexpect: {result: denied}\n", "wanted exactly one of request, requests and review"},
		"a verb that there is not":                                {strings.Replace(good, "verb: create", "verb: destroy", 1), `verb: wanted one of create`},
		"a patch of no type":                                      {strings.Replace(good, "verb: create", "verb: patch", 1), "patchType: wanted json, merge, strategic or apply"},
		"an attempt as the manager":                               {good + "as: {manager: true}\n", "as: manager is for setup alone"},
		"a request as the manager":                                {strings.Replace(good, "verb: create", "verb: create\n  as: {manager: true}", 1), "manager is for setup alone"},
		"setup as the manager":                                    {good + "setup:\n- as: {manager: true}\n  apply: {apiVersion: v1, kind: Pod, metadata: {name: x}}\n", ""},
		"groups of nobody":                                        {good + "as: {serviceAccount: a/b, groups: [x]}\n", "groups and extra are a user's"},
		"two identities":                                          {good + "as: {user: a, anonymous: true}\n", "as: wanted exactly one of user"},
		"a wait without an end":                                   {good + "setup:\n- wait: {object: {apiVersion: v1, resource: pods, name: x}, exists: true}\n", "wait: wanted within"},
		"a step that does two things":                             {good + "setup:\n- apply: {apiVersion: v1, kind: Pod, metadata: {name: x}}\n  capture: {var: a, object: {apiVersion: v1, resource: pods, name: x}, field: .a}\n", "wanted exactly one of apply, request, wait and capture"},
		"a check of nothing":                                      {good + "afterwards:\n- {object: {apiVersion: v1, resource: pods, name: x}}\n", "wanted exactly one of exists, field, unchanged and count"},
		"a check of any object":                                   {good + "afterwards:\n- {object: {apiVersion: v1, resource: pods}, exists: true}\n", "wanted a name or a selector"},
		"a field that is compared with nothing":                   {good + "afterwards:\n- {object: {apiVersion: v1, resource: pods, name: x}, field: {path: .a}}\n", "field: wanted exactly one of equals"},
		"a pattern that is none":                                  {strings.Replace(good, "{result: denied}", "{result: denied, message: '['}", 1), "wanted a regular expression"},
		"a duration without a unit":                               {good + "timeout: 10\n", `x.yaml:7: wanted a duration such as 10s, found "10"`},
		"a timeout that holds up the run":                         {good + "timeout: 1h\n", "timeout: wanted at most 3m0s"},
		"a variable that nobody sets":                             {strings.Replace(good, "name: bare", `name: "${pod}"`, 1), "x.yaml:5: nobody sets the variable pod"},
		"a variable that the Release sets":                        {strings.Replace(good, "name: bare", `name: "${pod}"`, 1) + "release: {}\n", ""},
		"a variable that is captured":                             {strings.Replace(good, "name: bare", `name: "${pod}"`, 1) + "setup:\n- capture: {var: pod, object: {apiVersion: v1, resource: pods, selector: a=b}, field: .metadata.name}\n", ""},
		"an edit of something else than an update":                {strings.Replace(good, "body: {apiVersion: v1, kind: Pod, metadata: {name: bare}}", "edit: [{op: remove, path: /a}]", 1), "edit: wanted verb update"},
		"a fill without a body":                                   {strings.Replace(good, "body: {apiVersion: v1, kind: Pod, metadata: {name: bare}}", "fill: [{at: /a, count: 1, value: x}]", 1), "fill: wanted a body to fill"},
		"a load without end":                                      {good + "during: [{concurrency: 100000, request: {verb: get, path: /}}]\n", "concurrency: wanted 1 to 256"},
		"alone and with the manager stopped":                      {good + "alone: true\nmanager: stopped\n", "alone: wanted the manager to run"},
		"a metric that need not rise":                             {good + "metrics: [{name: x}]\n", "metrics 1: wanted a name and how much it rises"},
		"an object without a kind in setup":                       {good + "setup:\n- apply: {metadata: {name: x}}\n", "wanted objects with apiVersion, kind and metadata"},
		"documents in a text in setup":                            {good + "setup:\n- apply: |\n    apiVersion: v1\n    kind: Pod\n    metadata: {name: x}\n    ---\n    apiVersion: v1\n    kind: Pod\n    metadata: {name: y}\n", ""},
		"a place that there is not":                               {good + "namespace: everywhere\n", "x.yaml:7: namespace: wanted governed, labelled, strict, glass, open or none"},
		"what is written for a template of another":               {strings.Replace(good, "name: bare", `name: "$${pod}"`, 1), ""},
		"a repetition is a variable of its own kind":              {strings.Replace(good, "name: bare", `name: "${repeat:3:ab}"`, 1), ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := attempt.Parse("x.yaml", []byte(tc.text))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("wanted no mistake, found: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("wanted %q, found: %v", tc.want, err)
			}
		})
	}
}

func TestReadTellsEveryMistakeOfEveryFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": good, "b.yaml": good + "x: 1\n", "sub/c.yml": "kind: attempt\n", "sub/a.yaml": good, "notes.txt": "not ours",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := attempt.Read(dir)
	if err == nil {
		t.Fatal("wanted mistakes, found none")
	}
	for _, want := range []string{`b.yaml:7: wanted one of the keys`, "c.yml: about: wanted a sentence", "c.yml: wanted exactly one of request"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("wanted %q in: %v", want, err)
		}
	}
	if len(found) != 2 || found[0].ID == found[1].ID {
		t.Errorf("wanted two attempts with identifiers of their own, found %+v", found)
	}
	if _, err := attempt.Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "found none") {
		t.Errorf("a directory without files is a mistake, found: %v", err)
	}
	if _, err := attempt.Read(filepath.Join(dir, "missing")); err == nil {
		t.Error("a directory that is not there is a mistake")
	}
}

// TestOwnFiles reads the project's own files, so that a mistake in one is found without a
// cluster, and holds them to the numbers that the documentation gives.
func TestOwnFiles(t *testing.T) {
	for dir, want := range map[string]struct {
		kind  attempt.Kind
		least int
	}{
		"../../attempts":   {attempt.Hostile, 210},
		"../../legitimate": {attempt.Legitimate, 55},
	} {
		all, err := attempt.Read(dir)
		if err != nil {
			t.Error(err)
		}
		if len(all) < want.least {
			t.Errorf("%s: wanted at least %d files, found %d", dir, want.least, len(all))
		}
		for _, a := range all {
			if a.Kind != want.kind {
				t.Errorf("%s: wanted kind %s, found %s", a.File, want.kind, a.Kind)
			}
		}
	}
}

func TestExpanded(t *testing.T) {
	vars := attempt.Vars{"namespace": "shop", "pod": "cart-1"}
	r := attempt.Request{
		Name: "${pod}", Namespace: new("${namespace}"),
		Body:  map[string]any{"metadata": map[string]any{"name": "${pod}", "labels": map[string]any{"${pod}": []any{"${namespace}", 3, nil, true}}}},
		Query: map[string][]string{"a": {"${pod}", "$${pod}"}},
		Fill:  []attempt.Fill{{At: "/x", Count: 2, Value: map[string]any{"name": "c${i}-${pod}"}}},
	}
	got, err := attempt.Expanded(r, vars)
	if err != nil {
		t.Fatal(err)
	}
	metadata := got.Body.(map[string]any)["metadata"].(map[string]any)
	list := metadata["labels"].(map[string]any)["cart-1"].([]any)
	if got.Name != "cart-1" || *got.Namespace != "shop" || metadata["name"] != "cart-1" || list[0] != "shop" || list[1] != 3 || list[2] != nil || list[3] != true {
		t.Errorf("found %+v, namespace %s", got, *got.Namespace)
	}
	if got.Query["a"][1] != "${pod}" {
		t.Errorf("wanted a dollar that is escaped left alone, found %q", got.Query["a"][1])
	}
	if got.Fill[0].Value.(map[string]any)["name"] != "c${i}-cart-1" {
		t.Errorf("wanted the number of a fill left for later, found %v", got.Fill[0].Value)
	}
	if r.Name != "${pod}" || *r.Namespace != "${namespace}" {
		t.Error("the original was changed")
	}
	if _, err := attempt.Expanded(attempt.Request{Name: "${nobody}"}, vars); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("wanted a mistake for a variable that is not set, found: %v", err)
	}
	if long, err := vars.Expand("${repeat:3:ab}"); err != nil || long != "ababab" {
		t.Errorf("found %q, %v", long, err)
	}
	if _, err := vars.Expand("${repeat:999999999:ab}"); err == nil {
		t.Error("wanted a repetition bounded, found none")
	}
	if nothing, err := attempt.Expanded[any](nil, vars); err != nil || nothing != nil {
		t.Errorf("nothing is nothing, found %v, %v", nothing, err)
	}
}
