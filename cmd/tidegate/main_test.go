package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asProgram makes this test binary the program itself.
const asProgram = "TIDEGATE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	// Its workers have no environment, but these arguments.
	if os.Getenv(asProgram) != "" || len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// program runs the program and returns its exit code and what it wrote.
func program(t *testing.T, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TIDEGATE_MEMORY=384Mi", "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	var out, messages bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &messages
	if err := cmd.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), messages.String()
}

func TestAProcessOfItsOwnEndsWithTheProgram(t *testing.T) {
	dir := write(t, filepath.Join(t.TempDir(), "web"), map[string]string{"web.cue": doubling})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	answers, people, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(answers.Close(), people.Close()) }()
	cmd := exec.CommandContext(t.Context(), self, "release", "create", "--template", dir, "--interactive")
	cmd.Env = append(os.Environ(), asProgram+"=1", "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	cmd.Stdin = answers
	messages, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Nobody answers, so that only what happens to the program can end the wait.
	question := make([]byte, len("Name of the release: "))
	if _, err := io.ReadFull(messages, question); err != nil || string(question) != "Name of the release: " {
		t.Fatalf("wanted a question, found %q and %v", question, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The process of its own writes to it too, so that it ends when both have ended.
	if _, err := io.Copy(io.Discard, messages); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.
}

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// doubling is a template whose text doubles again and again where values.big says so.
const doubling = `package web
#Variables: {
	// Text that doubles.
	big: *false | bool
}
#Context: {name: string, revision: string}
values:  #Variables
context: #Context
_texts: {}
if values.big {_texts: {
	t0: "abcdefghijklmnopqrstuvwxyz012345"
	for i, name in ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12", "t13", "t14", "t15", "t16", "t17", "t18", "t19", "t20", "t21", "t22", "t23", "t24", "t25", "t26", "t27", "t28", "t29", "t30", "t31", "t32"] {
		(name): "\(_texts["t\(i)"])\(_texts["t\(i)"])"
	}
}}
_last: string
if values.big {_last: _texts.t32}
if !values.big {_last: "x"}
objects: {
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: context.name
		spec: {
			selector: matchLabels: "tidegate.io/release": context.name
			template: {
				metadata: labels: {"tidegate.io/release": context.name, "tidegate.io/revision": context.revision}
				spec: containers: [{name: "app", image: "a:1", env: [{name: "A", value: _last}]}]
			}
		}
	}
}
rollout: type: "rolling"
`

func TestATemplateThatTakesAllMemoryEndsInWords(t *testing.T) {
	dir := write(t, filepath.Join(t.TempDir(), "web"), map[string]string{"web.cue": doubling, "tests.cue": "package web\n\ntests: big: values: big: true\n"})
	values := filepath.Join(write(t, t.TempDir(), map[string]string{"values.yaml": "big: true\n"}), "values.yaml")
	releases := filepath.Join(write(t, t.TempDir(), map[string]string{"releases.yaml": "apiVersion: tidegate.io/v1alpha1\nkind: Release\nmetadata: {name: cart, namespace: shop}\nspec: {template: {name: web}, values: {big: true}}\n"}), "releases.yaml")
	for _, args := range [][]string{
		{"template", "vet", dir},
		{"template", "test", dir},
		{"template", "bundle", dir},
		{"template", "render", dir, "--name", "cart", "--values", values},
		{"render", "-f", dir, "--name", "cart", "--values", values},
		{"template", "diff", dir, dir, "--releases", releases},
		{"release", "create", "--template", dir, "--name", "cart", "-f", values},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			code, _, messages := program(t, "", args...)
			if code != 2 || strings.Count(messages, "\n") != 1 || !strings.HasPrefix(messages, "Error: TG-RENDER-BUDGET: wanted the template to be done within 384Mi of memory, found that more was needed; look for ") {
				t.Errorf("wanted one line with the code and the cause, and exit code 2, found %d and\n%.2000s", code, messages)
			}
		})
	}
}

func TestACommandInAProcessOfItsOwnIsTheSame(t *testing.T) {
	dir := write(t, filepath.Join(t.TempDir(), "web"), map[string]string{"web.cue": doubling})
	code, out, messages := program(t, "big: false\n", "render", "-f", dir, "--name", "cart", "--values", "-")
	if code != 0 || !strings.Contains(out, "kind: Deployment\n") || !strings.Contains(messages, ": 1 objects, ") {
		t.Errorf("wanted the objects and a summary, found %d, %q and %q", code, out, messages)
	}
	code, out, messages = program(t, "big: 7\n", "render", "-f", dir, "--name", "cart", "--values", "-")
	if code != 1 || out != "" || !strings.Contains(messages, "values.big: wanted true or false") || strings.Count(messages, "\n") != 1 {
		t.Errorf("wanted a mistake, found %d, %q and %q", code, out, messages)
	}
	code, _, messages = program(t, "", "render", "-f", filepath.Join(dir, "gone"), "--name", "cart")
	if code != 2 || strings.Count(messages, "Error: ") != 1 {
		t.Errorf("wanted an error, found %d and %q", code, messages)
	}
}
