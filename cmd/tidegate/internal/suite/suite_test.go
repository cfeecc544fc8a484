package suite_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/cmd/tidegate/internal/suite"
	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

const (
	// libraryEnv names a folder with Suites of somebody else, such as the library of
	// Gatekeeper.
	libraryEnv = "TIDEGATE_GATEKEEPER_LIBRARY"
	good       = "testdata/good"
	// goldenFile has the messages of Gatekeeper's own program, of August 2026, to the same
	// cases. One was changed by hand since: the words of an error of the engine.
	goldenFile = "testdata/messages.json"
)

var update = flag.Bool("update", false, "write "+goldenFile)

// runAll runs the suites at a path and returns the results that do not pass, and the
// messages of those that do.
func runAll(t *testing.T, path string, judge suite.Judge) (count int, wrong []suite.Result, messages map[string][]string) {
	t.Helper()
	suites, err := suite.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	messages = map[string][]string{}
	for _, s := range suites {
		err := s.Run(t.Context(), judge, func(r suite.Result) {
			count++
			if !r.Pass {
				wrong = append(wrong, r)
			}
			if len(r.Violations) > 0 {
				messages[filepath.Base(filepath.Dir(r.File))+": "+r.Test+": "+r.Case] = r.Violations
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return count, wrong, messages
}

func TestOwnSuitesPassInTheWordsOfGatekeeper(t *testing.T) {
	count, wrong, messages := runAll(t, good+"/...", suite.Here{})
	if count < 110 {
		t.Errorf("ran only %d cases", count)
	}
	for _, r := range wrong {
		t.Errorf("%s: %s: %s: %s", r.File, r.Test, r.Case, r.Error)
	}
	if *update {
		raw, err := json.MarshalIndent(messages, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenFile, append(raw, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, messages); d != "" {
		t.Errorf("messages (-Gatekeeper +found):\n%s", d)
	}
}

func TestSuitesOfOthersPass(t *testing.T) {
	dir := os.Getenv(libraryEnv)
	if dir == "" {
		t.Skipf("%s is not set", libraryEnv)
	}
	count, wrong, _ := runAll(t, dir+"/...", suite.Here{})
	for _, r := range wrong {
		t.Errorf("%s: %s: %s: %s", r.File, r.Test, r.Case, r.Error)
	}
	t.Logf("%d cases", count)
}

// server is the webhook's handler over HTTPS, and the file with its certificate.
func server(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	cases, err := gatekeeper.NewCases(clock.RealClock{}, engine.Compiler{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(cases)
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, ca
}

// The webhook is asked about every case that is not about a point of enforcement of its
// own, or about what one request cannot ask.
func TestSuitesPassThroughTheWebhook(t *testing.T) {
	s, ca := server(t)
	judge, err := suite.NewRemote(s.URL, ca)
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{"labels", "unique", "matching", "cel", "legacy"}
	path := func(dir string) string { return filepath.Join(good, dir) }
	if dir := os.Getenv(libraryEnv); dir != "" {
		dirs, path = append(dirs, dir+"/..."), func(name string) string {
			if filepath.IsAbs(name) {
				return name
			}
			return filepath.Join(good, name)
		}
	}
	for _, dir := range dirs {
		count, wrong, _ := runAll(t, path(dir), judge)
		for _, r := range wrong {
			t.Errorf("%s: %s: %s: %s", r.File, r.Test, r.Case, r.Error)
		}
		t.Logf("%s: %d cases", dir, count)
	}
}

// What an object is made into is reviewed by requests of its own, and what is said of it is
// added to the case.
func TestExpansionsPassThroughTheWebhook(t *testing.T) {
	s, ca := server(t)
	judge, err := suite.NewRemote(s.URL, ca)
	if err != nil {
		t.Fatal(err)
	}
	_, wrong, _ := runAll(t, good+"/expansion", judge)
	if len(wrong) == 0 || !strings.Contains(wrong[0].Error, "found one with match.source Generated") {
		t.Errorf("wanted it said that no request brings what is generated, found %+v", wrong)
	}
	dir := t.TempDir()
	for _, name := range []string{"constraint.yaml", "cronjob.yaml", "expansion.yaml", "pod.yaml", "template.yaml"} {
		raw, err := os.ReadFile(filepath.Join(good, "expansion", name))
		if err != nil {
			t.Fatal(err)
		}
		raw = []byte(strings.ReplaceAll(string(raw), "source: Generated", "source: All"))
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := `
apiVersion: test.gatekeeper.sh/v1alpha1
kind: Suite
metadata: {name: expansion}
tests:
  - {name: pods that are made of others, template: template.yaml, constraint: constraint.yaml, expansion: expansion.yaml, cases: [
      {name: over two levels, object: cronjob.yaml, assertions: [{violations: 1, message: "\\[Implied by from-jobs\\] matched"}]},
      {name: a pod of its own, object: pod.yaml, assertions: [{violations: 1, message: "^matched"}]}]}
`
	if err := os.WriteFile(filepath.Join(dir, "suite.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	count, wrong, _ := runAll(t, dir, judge)
	if count != 2 || len(wrong) > 0 {
		t.Errorf("%d cases, wrong: %+v", count, wrong)
	}
}

func TestTheWebhookHasItsOwnPointOfEnforcement(t *testing.T) {
	s, ca := server(t)
	judge, err := suite.NewRemote(s.URL, ca)
	if err != nil {
		t.Fatal(err)
	}
	_, wrong, messages := runAll(t, good+"/code", judge)
	if len(wrong) != 1 || wrong[0].Test != "actions of another enforcement point are not asked" || len(wrong[0].Violations) != 1 {
		t.Errorf("wanted the constraint that is scoped to the webhook to object there, found %+v", wrong)
	}
	for name, list := range messages {
		if !strings.Contains(list[0], `operation "CREATE"`) {
			t.Errorf("%s: wanted the messages of CREATE, found %q", name, list)
		}
	}
}

func TestAServerThatIsNotThereEndsTheRun(t *testing.T) {
	s, ca := server(t)
	s.Close()
	judge, err := suite.NewRemote(s.URL, ca)
	if err != nil {
		t.Fatal(err)
	}
	suites, err := suite.Find(good + "/legacy")
	if err != nil {
		t.Fatal(err)
	}
	if err := suites[0].Run(t.Context(), judge, func(suite.Result) {}); !errors.Is(err, suite.ErrUnreachable) {
		t.Errorf("wanted ErrUnreachable, found %v", err)
	}
}

// write puts files into a folder of their own; a name that is not given is taken from a
// good suite.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"template.yaml", "constraint.yaml", "both.yaml", "none.yaml", "secret.yaml"} {
		if _, ok := files[name]; ok {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(good, "labels", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func oneCase(c string) string {
	return "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\nmetadata: {name: s}\ntests:\n- {name: t, template: template.yaml, constraint: constraint.yaml, cases: [" + c + "]}\n"
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	fine := oneCase("{name: c, object: none.yaml, assertions: [{violations: yes}]}")
	for name, tc := range map[string]struct {
		files map[string]string
		want  string // a part of the error; empty where the case passes
	}{
		"a suite that is fine":                      {map[string]string{"suite.yaml": fine}, ""},
		"yes as a boolean":                          {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{violations: true}]}")}, ""},
		"no as a boolean":                           {map[string]string{"suite.yaml": oneCase("{name: c, object: both.yaml, assertions: [{violations: false}]}")}, ""},
		"an assertion without a number":             {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{}]}")}, ""},
		"more violations than wanted":               {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{violations: 1}]}")}, "wanted exactly 1 violation, found 2"},
		"violations where none are wanted":          {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{violations: no}]}")}, "wanted no violation, found 2"},
		"no violation where one is wanted":          {map[string]string{"suite.yaml": oneCase("{name: c, object: both.yaml, assertions: [{violations: yes}]}")}, "wanted at least 1 violation, found 0"},
		"a message that nobody gives":               {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{message: xyz}]}")}, `matches "xyz", found 0`},
		"the second assertion fails":                {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{violations: 2}, {violations: 3}]}")}, "wanted exactly 3 violations, found 2"},
		"a message that is no pattern":              {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{message: '('}]}")}, "wanted a regular expression"},
		"no assertion":                              {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml}")}, "wanted at least one, found none"},
		"no object":                                 {map[string]string{"suite.yaml": oneCase("{name: c, assertions: [{violations: no}]}")}, "object: wanted a path"},
		"an object that is not there":               {map[string]string{"suite.yaml": oneCase("{name: c, object: gone.yaml, assertions: [{violations: no}]}")}, "gone.yaml"},
		"two objects in one file":                   {map[string]string{"none.yaml": "kind: A\napiVersion: v1\n---\nkind: B\napiVersion: v1\n", "suite.yaml": fine}, "wanted exactly one"},
		"a file with nothing in it":                 {map[string]string{"none.yaml": "# nothing\n---\n", "suite.yaml": fine}, "wanted at least one"},
		"a template that does not compile":          {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "not names.has(wanted)", "not names.has(", 1), "suite.yaml": fine}, "template:"},
		"a template that calls the network":         {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "not names.has(wanted)", `http.send({"method": "get", "url": "http://127.0.0.1"})`, 1), "suite.yaml": fine}, "no policy may call it"},
		"a template that reads other data":          {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "not names.has(wanted)", `data.secrets.x`, 1), "suite.yaml": fine}, "wanted a reference to data.lib"},
		"a template that imports input":             {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "import data.lib.names", "import data.lib.names\n        import input.review", 1), "suite.yaml": fine}, "input cannot be imported"},
		"a library outside of lib":                  {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "package lib.names", "package other.names", 1), "suite.yaml": fine}, "wanted a package below lib"},
		"a template without a violation":            {map[string]string{"template.yaml": strings.ReplaceAll(mustRead(t, "labels/template.yaml"), "violation[", "deny["), "suite.yaml": fine}, "wanted a rule violation"},
		"a template whose name is not its kind":     {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "name: teamlabels", "name: labels", 1), "suite.yaml": fine}, "the kind in lower case"},
		"a template of another target":              {map[string]string{"template.yaml": strings.Replace(mustRead(t, "labels/template.yaml"), "admission.k8s.gatekeeper.sh", "else", 1), "suite.yaml": fine}, "spec.targets[0].target"},
		"a constraint with a field nobody knows":    {map[string]string{"constraint.yaml": mustRead(t, "labels/constraint.yaml") + "    label: x\n", "suite.yaml": fine}, "unknown fields: spec.parameters.label"},
		"a constraint of another kind":              {map[string]string{"constraint.yaml": strings.Replace(mustRead(t, "labels/constraint.yaml"), "TeamLabels", "Others", 1), "suite.yaml": fine}, "wanted kind TeamLabels"},
		"a constraint that was to be invalid":       {map[string]string{"suite.yaml": "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests:\n- {name: t, template: template.yaml, constraint: constraint.yaml, invalid: true}\n"}, "found one that fits"},
		"a constraint that is invalid by its words": {map[string]string{"constraint.yaml": mustRead(t, "labels/constraint.yaml") + "    label: x\n", "suite.yaml": "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests:\n- {name: t, template: template.yaml, constraint: constraint.yaml, invalid: true}\n"}, "unknown fields"},
		"a review with a field nobody knows":        {map[string]string{"none.yaml": "kind: AdmissionReview\napiVersion: admission.k8s.io/v1\nrequest: {operations: x, object: {kind: A, apiVersion: v1}}\n", "suite.yaml": fine}, "unknown field"},
		"a review without an object":                {map[string]string{"none.yaml": "kind: AdmissionReview\napiVersion: admission.k8s.io/v1\nrequest: {operation: UPDATE}\n", "suite.yaml": fine}, "wanted object or oldObject"},
		"a DELETE without the old object":           {map[string]string{"none.yaml": "kind: AdmissionReview\napiVersion: admission.k8s.io/v1\nrequest: {operation: DELETE, object: {kind: A, apiVersion: v1}}\n", "suite.yaml": fine}, "oldObject cannot be nil"},
		"an expansion that is none":                 {map[string]string{"suite.yaml": strings.Replace(fine, "constraint: constraint.yaml", "constraint: constraint.yaml, expansion: none.yaml", 1)}, "wanted an ExpansionTemplate"},
	} {
		t.Run(name, func(t *testing.T) {
			count, wrong, _ := runAll(t, write(t, tc.files), suite.Here{})
			switch {
			case count != 1:
				t.Errorf("wanted one result, found %d", count)
			case tc.want == "" && len(wrong) > 0:
				t.Errorf("wanted it to pass, found %s", wrong[0].Error)
			case tc.want != "" && len(wrong) == 0:
				t.Errorf("wanted %q, found that it passes", tc.want)
			case tc.want != "" && !strings.Contains(wrong[0].Error, tc.want):
				t.Errorf("wanted %q in: %s", tc.want, wrong[0].Error)
			}
		})
	}
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(good, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestFindSaysWhatItCannotRead(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		path  string
		want  string
	}{
		"nothing there":               {nil, "gone", "no such file"},
		"a file that is no suite":     {nil, "none.yaml", "wanted a Suite"},
		"a folder without a suite":    {nil, "", "found none"},
		"a file before the dots":      {nil, "none.yaml/...", "wanted a folder"},
		"a number of another kind":    {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{violations: maybe}]}")}, "", `found "maybe"`},
		"a number below zero":         {map[string]string{"suite.yaml": oneCase("{name: c, object: none.yaml, assertions: [{violations: -1}]}")}, "", "wanted yes, no or a number"},
		"a suite that is broken YAML": {map[string]string{"suite.yaml": "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\n  x: ["}, "", "reading suite"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := suite.Find(filepath.Join(write(t, tc.files), tc.path))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("wanted %q, found %v", tc.want, err)
			}
		})
	}
}
