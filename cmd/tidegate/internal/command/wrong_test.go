package command

import (
	"context"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestAWrongWordIsAnsweredWithTheNearest(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an unknown command of template":   {[]string{"template", "rendr", "x"}, 2, "found \"rendr\"; did you mean render?\nSee 'tidegate template --help'\n"},
		"one that is near to nothing":      {[]string{"template", "frob"}, 2, "Error: wanted one of the commands bundle, diff, explain, fmt, init, render, rollback, schema, status, sync, test, vet, found \"frob\"\nSee 'tidegate template --help'\n"},
		"an unknown command":               {[]string{"templte", "vet"}, 1, "found \"templte\"; did you mean template?\nSee 'tidegate --help'\n"},
		"an unknown command of release":    {[]string{"release", "crate"}, 1, "wanted one of the commands create, found \"crate\"; did you mean create?"},
		"an unknown command of sync":       {[]string{"template", "sync", "puase"}, 1, "wanted one of the commands pause, resume, found \"puase\"; did you mean pause?\nSee 'tidegate template sync --help'"},
		"an unknown flag":                  {[]string{"template", "vet", "x", "--error-only"}, 2, "wanted a flag of tidegate template vet, found --error-only; did you mean --errors-only?\nSee 'tidegate template vet --help'\n"},
		"an unknown flag near to nothing":  {[]string{"render", "--frobnicate"}, 2, "wanted a flag of tidegate render, found --frobnicate\nSee 'tidegate render --help'\n"},
		"an unknown short flag":            {[]string{"render", "-x"}, 2, "found -x\nSee"},
		"a long flag with one dash, short": {[]string{"status", "x", "-watch"}, 1, "See 'tidegate status --help'"},
		"a flag without its value":         {[]string{"render", "--values"}, 2, "Error: wanted a value behind --values, found none; it is: "},
		"an undo to nothing":               {[]string{"undo", "cart", "--to"}, 1, "Error: wanted a value behind --to, found none; it is: The number, name or revision of the rollout to return to; see: tidegate history RELEASE\nSee 'tidegate undo --help'\n"},
		"a flag of another kind":           {[]string{"template", "test", "x", "--min-coverage", "many"}, 2, "See 'tidegate template test --help'"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), c.args...), c.code)
			wantPart(t, "err", w.err.String(), "Error: ", c.want)
			wantText(t, "out", w.out.String(), "")
			if n := strings.Count(w.err.String(), "\n"); n != 2 {
				t.Errorf("wanted a line and how to get help, found %d lines:\n%s", n, w.err.String())
			}
		})
	}
}

func TestACommandOfCommandsShowsThem(t *testing.T) {
	for _, args := range [][]string{{}, {"template"}, {"template", "sync"}, {"release"}} {
		w := newWorld(t, interceptor.Funcs{})
		w.wantCode(w.run(t.Context(), args...), ExitOK)
		wantPart(t, "out", w.out.String(), "Available Commands:")
	}
}

func TestAStrangerUnderstandsWhatWentWrong(t *testing.T) {
	dir := variant(t)
	values := file(t, "values.yaml", "image: a:1\n")
	folder := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"flags that are needed":               {[]string{"template", "rollback", "web"}, 1, "Error: wanted --reason and --to, found none\nSee 'tidegate template rollback --help'\n"},
		"no template to render":               {[]string{"render"}, 2, "Error: wanted --filename, found none\nSee 'tidegate render --help'\n"},
		"an undo to an empty number":          {[]string{"undo", "cart", "--to", ""}, 1, "Error: wanted the number, name or revision of a rollout in --to, found nothing; see them with: tidegate history cart, or leave --to out for the one before\n"},
		"a number that is none":               {[]string{"template", "rollback", "web", "--to", "x", "--reason", "y"}, 1, "Error: wanted a whole number in --to, found \"x\"\nSee "},
		"a time that is none":                 {[]string{"status", "cart", "--watch", "--timeout", "x"}, 1, "wanted a time, such as 90s or 5m, in --timeout, found \"x\"\n"},
		"a file that is not there":            {[]string{"template", "render", dir, "--name", "cart", "--values", "gone"}, 2, "Error: reading gone: no such file or directory\n"},
		"a directory that is not there":       {[]string{"template", "vet", "gone"}, 2, "Error: reading the template: gone: no such file or directory\n"},
		"a directory for a file":              {[]string{"template", "render", dir, "--name", "cart", "--values", folder}, 2, "Error: reading " + folder + ": is a directory\n"},
		"a name that is none":                 {[]string{"render", "-f", dir, "--name", "CART"}, 2, "Error: wanted a name of the Release of "},
		"values for a template":               {[]string{"render", "-f", values, "--name", "cart"}, 2, "with apiVersion and kind, found none; a file of values goes with --values\n"},
		"values for Releases":                 {[]string{"template", "diff", dir, dir, "--releases", values}, 2, "Error: wanted objects in " + values + ", as kubectl get ... -o yaml writes them, found none\n"},
		"a folder without Releases":           {[]string{"template", "diff", dir, dir, "--releases", folder}, 2, "found none\n"},
		"nothing on standard input":           {[]string{"template", "diff", dir, dir, "--releases", "-"}, 2, "Error: wanted objects in standard input, "},
		"Releases for policies":               {[]string{"template", "diff", dir, dir, "--releases", file(t, "r.yaml", releaseText), "--policies", file(t, "r.yaml", releaseText)}, 2, "wanted DeployPolicies in "},
		"more coverage than there can be":     {[]string{"template", "test", dir, "--min-coverage", "200"}, 2, "wanted a percentage from 0 to 100 in --min-coverage, found 200\n"},
		"a variable that is nearly there":     {[]string{"template", "explain", dir, "imag"}, 2, "found values.imag; did you mean values.image"},
		"a kubeconfig that is no such thing":  {[]string{"status", "cart", "--kubeconfig", file(t, "c", "a: b: c")}, 1, "Error: reading the kubeconfig: "},
		"a value that is no YAML":             {[]string{"release", "create", "--template", dir, "--name", "cart", "--set", "image=a: b: c"}, 1, "wanted a value as in YAML, found a second \": \" in a line"},
		"a template on the way to be written": {[]string{"release", "create", "--template", "gone", "--name", "cart"}, 1, "Error: reading what to render: gone: no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), c.args...), c.code)
			wantPart(t, "err", w.err.String(), c.want)
			wantText(t, "out", w.out.String(), "")
		})
	}
}

func TestAClusterThatDoesNotAnswerIsNamed(t *testing.T) {
	for at, want := range map[string]string{
		"https://127.0.0.1:1/api":   "The cluster does not answer. Is it the right one (--context, --kubeconfig), and is it up?",
		"http://localhost:8080/api": "No cluster is named, and none is on this machine: set KUBECONFIG, or give --kubeconfig.",
	} {
		lost := func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return &url.Error{Op: "Get", URL: at, Err: syscall.ECONNREFUSED}
		}
		w := newWorld(t, interceptor.Funcs{Get: lost})
		w.wantCode(w.run(t.Context(), "template", "diff", variant(t)), ExitRenderFailed)
		wantPart(t, "err", w.err.String(), "Error: reading ReleaseTemplate web: ", "connection refused\n"+want+"\n")
	}
}
