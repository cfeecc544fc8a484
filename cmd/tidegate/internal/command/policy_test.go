package command

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const goodSuites = "../suite/testdata/good"

func TestPolicyVerify(t *testing.T) {
	wrong := t.TempDir()
	for name, from := range map[string]string{"template.yaml": "labels/template.yaml", "constraint.yaml": "labels/constraint.yaml", "none.yaml": "labels/none.yaml"} {
		raw, err := os.ReadFile(filepath.Join(goodSuites, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(wrong, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	suite := "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\nmetadata: {name: s}\ntests:\n- {name: t, template: template.yaml, constraint: constraint.yaml, cases: [{name: c, object: none.yaml, assertions: [{violations: no}]}]}\n"
	if err := os.WriteFile(filepath.Join(wrong, "suite.yaml"), []byte(suite), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		out  string // a part of the output
		err  string // a part of the errors
	}{
		"all pass":                    {[]string{goodSuites + "/..."}, ExitOK, "0 failed, 2 skipped", ""},
		"a folder":                    {[]string{goodSuites + "/cel"}, ExitOK, "4 passed", ""},
		"two paths":                   {[]string{goodSuites + "/cel", goodSuites + "/legacy/suite.yaml"}, ExitOK, "5 passed", ""},
		"one fails":                   {[]string{wrong}, 1, "t / c\n  wanted no violation, found 2", ""},
		"one fails, as JSON":          {[]string{wrong, "-o", "json"}, 1, `{"suite":"s","test":"t","case":"c","pass":false,"violations":["ConfigMap none lacks the label stage`, ""},
		"a path that is not there":    {[]string{"gone"}, 2, "", "no such file"},
		"no path":                     {nil, 2, "", "wanted at least one path"},
		"a server that is no URL":     {[]string{wrong, "--server", "127.0.0.1"}, 2, "", "wanted a URL"},
		"a server without encryption": {[]string{wrong, "--server", "http://127.0.0.1"}, 2, "", "wanted a URL"},
		"a server that is not there":  {[]string{wrong, "--server", "https://127.0.0.1:1"}, 2, "", "gave no answer"},
		"certificates without server": {[]string{wrong, "--ca", "x"}, 2, "", "wanted --server"},
		"certificates that are none":  {[]string{wrong, "--server", "https://127.0.0.1:1", "--ca", filepath.Join(wrong, "suite.yaml")}, 2, "", "wanted PEM"},
		"an output of another form":   {[]string{wrong, "-o", "xml"}, 2, "", "xml"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), append([]string{"policy", "verify"}, tc.args...)...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out)
			wantPart(t, "err", w.err.String(), tc.err)
		})
	}
}

// Other tools read these fields.
func TestPolicyVerifyWritesOneObjectALine(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "policy", "verify", goodSuites+"/...", "-o", "json"), ExitOK)
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if len(lines) < 110 {
		t.Errorf("found only %d lines", len(lines))
	}
	for _, line := range lines {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		for _, key := range []string{"suite", "test", "case", "pass", "violations", "error"} {
			if _, ok := r[key]; !ok {
				t.Fatalf("wanted %s in %s", key, line)
			}
		}
		if _, ok := r["violations"].([]any); !ok {
			t.Fatalf("wanted a list of violations in %s", line)
		}
	}
}

func TestPolicyServeAndVerify(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	client := newWorld(t, interceptor.Funcs{})
	messages, written := io.Pipe()
	done := make(chan int)
	go func() {
		env := Env{Name: "tidegate", In: strings.NewReader(""), Out: io.Discard, Err: written, Getenv: func(string) string { return "" }, Now: time.Now}
		done <- Run(ctx, env, []string{"policy", "serve", "--listen", "127.0.0.1:0", "--ca", ca})
	}()
	// It says where it serves once it does.
	lines := bufio.NewReader(messages)
	line, err := lines.ReadString('\n')
	address, _, ok := strings.Cut(strings.TrimPrefix(line, "Serving at https://"), "/")
	if err != nil || !ok {
		t.Fatalf("wanted an address, found %q and %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	client.wantCode(client.run(t.Context(), "policy", "verify", goodSuites+"/legacy", "--server", "https://"+address, "--ca", ca), ExitOK)
	wantPart(t, "out", client.out.String(), "1 passed, 0 failed")
	cancel()
	<-done
	_ = written.Close() // ends who reads it
}

func TestPolicyServeListensOnLoopbackAlone(t *testing.T) {
	for _, address := range []string{"0.0.0.0:9443", ":9443", "192.0.2.1:9443", "localhost", "example.com:9443"} {
		w := newWorld(t, interceptor.Funcs{})
		w.wantCode(w.run(t.Context(), "policy", "serve", "--listen", address, "--ca", "x"), 2)
		wantPart(t, "err", w.err.String(), "wanted an address of loopback")
	}
}

func TestPolicyImport(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		code  int
		want  []string // names of the policies
		err   string
	}{
		"a template and its constraint":  {[]string{"labels/template.yaml", "labels/constraint.yaml"}, ExitOK, []string{"teamlabels-owners"}, ""},
		"several constraints":            {[]string{"code/template.yaml", "code/constraint.yaml", "code/scoped.yaml"}, ExitOK, []string{"replicafloor-two", "replicafloor-webhook-only"}, ""},
		"something else":                 {[]string{"labels/template.yaml", "labels/constraint.yaml", "labels/none.yaml"}, ExitOK, []string{"teamlabels-owners"}, "left out ConfigMap none"},
		"one about Pods":                 {[]string{"matching/template.yaml", "matching/c2.yaml"}, ExitOK, []string{"always-c2"}, "about Pods"},
		"one that reads the inventory":   {[]string{"unique/template.yaml", "unique/constraint.yaml"}, 1, nil, "reads data.inventory"},
		"one in CEL":                     {[]string{"cel/template.yaml", "cel/constraint.yaml"}, 1, nil, "found one in CEL"},
		"one that is made of others":     {[]string{"expansion/template.yaml", "expansion/constraint.yaml"}, 1, nil, "found Generated"},
		"one without its template":       {[]string{"labels/constraint.yaml"}, 1, nil, "wanted its ConstraintTemplate"},
		"one that does not fit":          {[]string{"labels/template.yaml", "labels/nolabels.yaml"}, 1, nil, "schema validation failed"},
		"a template alone":               {[]string{"labels/template.yaml"}, 2, nil, "wanted at least one constraint"},
		"a file that is not there":       {[]string{"gone.yaml"}, 2, nil, "no such file"},
		"no file":                        {nil, 2, nil, "wanted at least one file"},
		"one is fine and another is not": {[]string{"labels/template.yaml", "labels/nolabels.yaml", "labels/constraint.yaml"}, 1, []string{"teamlabels-owners"}, "schema validation failed"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"policy", "import"}
			for _, f := range tc.files {
				args = append(args, filepath.Join(goodSuites, f))
			}
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), args...), tc.code)
			wantPart(t, "err", w.err.String(), tc.err)
			var names []string
			for document := range strings.SplitSeq(w.out.String(), "---\n") {
				if document == "" {
					continue
				}
				var p v1alpha1.DeployPolicy
				if err := yaml.UnmarshalStrict([]byte(document), &p); err != nil {
					t.Fatalf("%v in:\n%s", err, document)
				}
				if _, err := eval.Compile(eval.FromDeployPolicy(&p)); err != nil {
					t.Errorf("%v in:\n%s", err, document)
				}
				names = append(names, p.Name)
			}
			if strings.Join(names, " ") != strings.Join(tc.want, " ") {
				t.Errorf("wanted %q, found %q", tc.want, names)
			}
		})
	}
}
