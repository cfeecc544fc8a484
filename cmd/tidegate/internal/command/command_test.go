package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// world is a cluster, and what was written to the outputs.
type world struct {
	*testing.T
	client   client.Client
	out, err bytes.Buffer
	terminal bool
	env      map[string]string
	in       string
	name     string
	discover func() (Discovery, error)
}

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newWorld(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *world {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", config)
	c := fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return &world{T: t, client: c, name: "tidegate"}
}

// run runs the command line and returns its exit code.
func (w *world) run(ctx context.Context, args ...string) int {
	w.out.Reset()
	w.err.Reset()
	return Run(ctx, Env{
		Name: w.name, In: strings.NewReader(w.in), Out: &w.out, Err: &w.err, Terminal: w.terminal,
		Size:   func() (int, int) { return 100, 50 },
		Getenv: func(name string) string { return w.env[name] },
		Now:    func() time.Time { return noon },
		Client: func(genericclioptions.RESTClientGetter, *runtime.Scheme) (client.Client, error) {
			return w.client, nil
		},
		Discovery: func(genericclioptions.RESTClientGetter) (Discovery, error) { return w.discover() },
	}, args)
}

func (w *world) wantCode(got, want int) {
	w.Helper()
	if got != want {
		w.Errorf("exit code %d, want %d\nout: %s\nerr: %s", got, want, w.out.String(), w.err.String())
	}
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

func wantPart(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s: %q is not in\n%s", what, p, got)
		}
	}
}

func newRelease(namespace, name string, phase v1alpha1.ReleasePhase) *v1alpha1.Release {
	r := &v1alpha1.Release{}
	r.Namespace, r.Name, r.Generation = namespace, name, 2
	r.CreationTimestamp = metav1.NewTime(noon.Add(-3 * time.Hour))
	r.Spec.Template.Name = "web"
	r.Status = v1alpha1.ReleaseStatus{
		ObservedGeneration: 2, Phase: phase, Revision: "3f2a91c04d", StableRevision: "9c0e55d1aa",
		Rollout: name + "-2", Step: "2/3", Weight: 25, TemplateRevision: "web-1",
		Message: "error-ratio is 0.12 % of 1240 requests, at most 1 % is allowed; the step holds for 20s more.",
	}
	return r
}

func newRollout(namespace, release string, number int64, phase v1alpha1.RolloutPhase) *v1alpha1.Rollout {
	o := &v1alpha1.Rollout{}
	o.Namespace, o.Name = namespace, release+"-"+string(rune('0'+number))
	o.CreationTimestamp = metav1.NewTime(noon.Add(-time.Hour))
	o.Spec = v1alpha1.RolloutSpec{
		Release: release, Number: number, Revision: "3f2a91c04d", Replicas: 4, TemplateRevision: "web-1",
		Stable: &v1alpha1.StableReference{Revision: "9c0e55d1aa", Replicas: 4},
		Strategy: v1alpha1.Strategy{Steps: []v1alpha1.Step{
			{SetWeight: new(int32(5))}, {SetWeight: new(int32(25))}, {Pause: &v1alpha1.Pause{Approval: true}}, {SetWeight: new(int32(100))},
		}},
	}
	o.Status = v1alpha1.RolloutStatus{Phase: phase, Step: 3, Weight: 25, ApprovedWeight: 25, Reason: "TG-HOLD-APPROVAL", Message: "step 3 waits for an approval."}
	return o
}

func newDeployment(namespace, release, revision string, n int32) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = namespace, release+"-"+revision
	d.Labels = map[string]string{v1alpha1.LabelRelease: release, v1alpha1.LabelRevision: revision}
	d.Spec.Replicas = &n
	d.Status.AvailableReplicas = n
	return d
}

func shop() []client.Object {
	return []client.Object{
		newRelease("shop", "cart", v1alpha1.ReleaseProgressing),
		newRelease("shop", "checkout", v1alpha1.ReleaseServing),
		newRelease("bank", "ledger", v1alpha1.ReleaseAborted),
		newRollout("shop", "cart", 2, v1alpha1.RolloutProgressing),
		newRollout("shop", "cart", 1, v1alpha1.RolloutSucceeded),
		newDeployment("shop", "cart", "3f2a91c04d", 1),
		newDeployment("shop", "cart", "9c0e55d1aa", 4),
		newDeployment("shop", "other", "0000000000", 9),
	}
}

func TestGetPrintsTables(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"releases are what is listed by default": {[]string{"get", "-n", "shop"}, `
NAME       TEMPLATE   REVISION     PHASE         STEP   WEIGHT   MESSAGE                                                            AGE
cart       web        3f2a91c04d   Progressing   2/3    25       error-ratio is 0.12 % of 1240 requests, at most 1 % is allowe...   3h
checkout   web        3f2a91c04d   Serving       2/3    25       error-ratio is 0.12 % of 1240 requests, at most 1 % is allowe...   3h
`},
		"all namespaces are shown with their names": {[]string{"get", "rel", "-A"}, `
NAMESPACE   NAME       TEMPLATE   REVISION     PHASE         STEP   WEIGHT   MESSAGE                                                            AGE
bank        ledger     web        3f2a91c04d   Aborted       2/3    25       error-ratio is 0.12 % of 1240 requests, at most 1 % is allowe...   3h
shop        cart       web        3f2a91c04d   Progressing   2/3    25       error-ratio is 0.12 % of 1240 requests, at most 1 % is allowe...   3h
shop        checkout   web        3f2a91c04d   Serving       2/3    25       error-ratio is 0.12 % of 1240 requests, at most 1 % is allowe...   3h
`},
		"wide tables show messages whole and more columns": {[]string{"get", "rollouts", "-n", "shop", "-o", "wide"}, `
NAME     RELEASE   REVISION     PHASE         STEP   WEIGHT   VERDICT   MESSAGE                         APPROVED   REASON             TEMPLATE REVISION   AGE
cart-1   cart      3f2a91c04d   Succeeded     3/4    25                 step 3 waits for an approval.   25         TG-HOLD-APPROVAL   web-1               60m
cart-2   cart      3f2a91c04d   Progressing   3/4    25                 step 3 waits for an approval.   25         TG-HOLD-APPROVAL   web-1               60m
`},
		"names choose": {[]string{"get", "releases", "cart", "-n", "shop", "-o", "name"}, `
release.tidegate.io/cart
`},
		"lists have names too": {[]string{"get", "releases", "-n", "shop", "-o", "name"}, `
release.tidegate.io/cart
release.tidegate.io/checkout
`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{}, shop()...)
			w.wantCode(w.run(t.Context(), c.args...), ExitOK)
			wantText(t, "out", w.out.String(), strings.TrimPrefix(c.want, "\n"))
			wantText(t, "err", w.err.String(), "")
		})
	}
}

func TestGetPrintsJSON(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, shop()...)
	w.wantCode(w.run(t.Context(), "get", "releases", "cart", "-n", "shop", "-o", "json"), ExitOK)
	var one v1alpha1.Release
	if err := json.Unmarshal(w.out.Bytes(), &one); err != nil || one.Name != "cart" || one.Kind != "Release" {
		t.Errorf("one name: %v, %s", err, w.out.String())
	}
	w.wantCode(w.run(t.Context(), "get", "releases", "-A", "-o", "json"), ExitOK)
	var list v1alpha1.ReleaseList
	if err := json.Unmarshal(w.out.Bytes(), &list); err != nil || len(list.Items) != 3 || list.Kind != "ReleaseList" || list.Items[0].Kind != "Release" {
		t.Errorf("a list: %v, %s", err, w.out.String())
	}
}

func TestGetMarksPhasesOfAnOlderSpec(t *testing.T) {
	r := newRelease("shop", "cart", v1alpha1.ReleaseServing)
	r.Generation = 3
	w := newWorld(t, interceptor.Funcs{}, r)
	w.wantCode(w.run(t.Context(), "get", "-n", "shop"), ExitOK)
	wantPart(t, "out", w.out.String(), " Serving* ")
}

func TestWrongInputsSayWhatWasWanted(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"an unknown kind": {[]string{"get", "cart"}, ExitError, []string{
			`wanted releases, rollouts, templates, commands, templaterevisions or templatecommands, found "cart"`, "tidegate get releases cart",
		}},
		"a name that is nearly right": {[]string{"get", "releases", "crat", "-n", "shop"}, ExitError, []string{
			`there is no "crat" among the releases of namespace "shop"; did you mean cart?`,
		}},
		"names of all namespaces": {[]string{"get", "releases", "cart", "-A"}, ExitError, []string{"names are of one namespace"}},
		"an unknown format":       {[]string{"get", "-n", "shop", "-o", "xml"}, ExitError, []string{`"xml"`, "json"}},
		"an unknown command":      {[]string{"statsu", "cart"}, ExitError, []string{`found "statsu"; did you mean status?`, "status"}},
		"an unknown flag":         {[]string{"status", "cart", "--wach"}, ExitError, []string{"found --wach; did you mean --watch?", "See 'tidegate status --help'"}},
		"no release":              {[]string{"status"}, ExitError, []string{"wanted one RELEASE, found 0 arguments", "Usage: tidegate status RELEASE"}},
		"two releases":            {[]string{"status", "a", "b"}, ExitError, []string{"wanted one RELEASE, found 2 arguments"}},
		"a misspelt release": {[]string{"status", "crat", "-n", "shop"}, ExitError, []string{
			`there is no Release "crat" in namespace "shop"; did you mean cart?`,
		}},
		"a release of another namespace": {[]string{"status", "ledger", "-n", "shop"}, ExitError, []string{
			`there is no Release "ledger" in namespace "shop"; there is one in namespace bank: add -n bank`,
		}},
		"a release like no other": {[]string{"status", "zzzzzzzz", "-n", "shop"}, ExitError, []string{
			`list what there is with: tidegate get releases -n shop`,
		}},
		"a timeout without watching":   {[]string{"status", "cart", "--timeout", "1s"}, ExitError, []string{"--timeout goes with --watch"}},
		"a negative timeout":           {[]string{"status", "cart", "-w", "--timeout", "-1s"}, ExitError, []string{"wanted a positive time in --timeout, found -1s"}},
		"a status format":              {[]string{"status", "cart", "-o", "wide"}, ExitError, []string{`wanted json or yaml in --output, found "wide"`}},
		"a colour mode":                {[]string{"get", "--color", "yes"}, ExitError, []string{`wanted auto, always or never, found "yes"`}},
		"an abort without a reason":    {[]string{"abort", "cart", "-n", "shop"}, ExitError, []string{"reason"}},
		"an abort with a blank reason": {[]string{"abort", "cart", "-n", "shop", "--reason", " "}, ExitError, []string{"wanted a reason in --reason, found none"}},
		"step 0":                       {[]string{"approve", "cart", "-n", "shop", "--step", "0"}, ExitError, []string{"wanted a step from 1 up in --step, found 0"}},
		"a step beyond the last":       {[]string{"approve", "cart", "-n", "shop", "--step", "9"}, ExitRefused, []string{"wanted a step from 1 to 4 of Rollout cart-2, found 9"}},
		"a step without approval": {[]string{"approve", "cart", "-n", "shop", "--step", "1"}, ExitRefused, []string{
			"step 1 of Rollout cart-2 asks for no approval; those that do are 3 (at 25 %)",
		}},
		"a release without a rollout": {[]string{"pause", "checkout", "-n", "shop"}, ExitRefused, []string{
			`Release "checkout" has no Rollout yet, so there is nothing to pause`,
		}},
		"a format of a decision, before it is one": {[]string{"pause", "cart", "-n", "shop", "-o", "xml"}, ExitError, []string{`wanted a format for --output, found "xml"`}},
		"a negative wait":                          {[]string{"pause", "cart", "-n", "shop", "--wait", "-1s"}, ExitError, []string{"wanted a positive time in --wait, found -1s"}},
		"arguments of version":                     {[]string{"version", "now"}, ExitError, []string{`wanted no arguments, found ["now"]`}},
		"render without anything":                  {[]string{"render"}, ExitRenderFailed, []string{"wanted --filename, found none"}},
		"render with a typo":                       {[]string{"render", "--vales", "x"}, ExitRenderFailed, []string{"found --vales; did you mean --values?"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{}, shop()...)
			w.wantCode(w.run(t.Context(), c.args...), c.code)
			wantPart(t, "err", w.err.String(), append(c.want, "Error: ")...)
			wantText(t, "out", w.out.String(), "")
		})
	}
}

func TestStatusShowsTheTree(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, shop()...)
	w.wantCode(w.run(t.Context(), "status", "cart", "-n", "shop"), ExitOK)
	wantPart(t, "out", w.out.String(),
		"shop/cart  Progressing  template web-1  revision 3f2a91c04d\n",
		"|- rollout cart-2  Progressing  TG-HOLD-APPROVAL\n",
		"|  |- weight: 25 % on the route, 25 % approved\n",
		"|     |- > 3  pause until approved\n",
		"   |- 9c0e55d1aa  stable  4 of 4 available  75 % of requests\n",
		"   `- 3f2a91c04d  canary  1 of 1 available  25 % of requests\n")
	if strings.Contains(w.out.String(), "0000000000") {
		t.Error("another release's set is shown")
	}

	w.terminal, w.env = true, map[string]string{"LANG": "C.UTF-8"}
	w.wantCode(w.run(t.Context(), "status", "cart", "-n", "shop"), ExitOK)
	wantPart(t, "a terminal's out", w.out.String(), "\x1b[33mProgressing\x1b[0m", "▶")
	w.wantCode(w.run(t.Context(), "status", "cart", "-n", "shop", "--color", "never"), ExitOK)
	if strings.Contains(w.out.String(), "\x1b") {
		t.Errorf("--color never: got %q", w.out.String())
	}
}

func TestStatusExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		phase v1alpha1.ReleasePhase
		code  int
		err   string
	}{
		"serving is good":                       {v1alpha1.ReleaseServing, ExitOK, ""},
		"under way is no failure":               {v1alpha1.ReleaseProgressing, ExitOK, ""},
		"aborted is a failure, and says why":    {v1alpha1.ReleaseAborted, ExitRefused, "Error: Release shop/cart was aborted: error-ratio is"},
		"invalid values are one, and so is why": {v1alpha1.ReleaseInvalid, ExitRefused, "Error: Release shop/cart is invalid: error-ratio is"},
	} {
		for _, output := range []string{"", "json", "yaml"} {
			t.Run(name+"/"+output, func(t *testing.T) {
				w := newWorld(t, interceptor.Funcs{}, newRelease("shop", "cart", c.phase))
				w.wantCode(w.run(t.Context(), "status", "cart", "-n", "shop", "-o", output), c.code)
				wantPart(t, "err", w.err.String(), c.err)
				wantPart(t, "out", w.out.String(), "cart", string(c.phase))
			})
		}
	}
}

func TestStatusWithoutRightsToTheRest(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))
	}}, shop()...)
	w.wantCode(w.run(t.Context(), "status", "cart", "-n", "shop"), ExitOK)
	wantPart(t, "out", w.out.String(), "shop/cart  Progressing",
		"note: the Rollouts of namespace shop cannot be shown: you may not list them",
		"note: the sets cannot be shown: you may not list Deployments in namespace shop")
}

// play returns functions that let the n-th read of a Release see what the n-th scene
// makes of it; the last scene stays.
func play(scenes ...func(*v1alpha1.Release) error) interceptor.Funcs {
	n := 0
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		if err := c.Get(ctx, key, obj, opts...); err != nil {
			return err
		}
		if r, ok := obj.(*v1alpha1.Release); ok {
			scene := scenes[min(n, len(scenes)-1)]
			n++
			return scene(r)
		}
		return nil
	}}
}

func phase(p v1alpha1.ReleasePhase, message string) func(*v1alpha1.Release) error {
	return func(r *v1alpha1.Release) error {
		r.Status.Phase, r.Status.Message = p, message
		return nil
	}
}

func TestStatusWatchEndsWithTheRelease(t *testing.T) {
	lost := func(*v1alpha1.Release) error { return errors.New("connection refused") }
	gone := func(*v1alpha1.Release) error {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "releases"}, "cart")
	}
	for name, c := range map[string]struct {
		scenes []func(*v1alpha1.Release) error
		args   []string
		code   int
		out    string
		err    string
		took   time.Duration
	}{
		"a success is told line by line": {
			[]func(*v1alpha1.Release) error{
				phase(v1alpha1.ReleaseProgressing, "step 1"), phase(v1alpha1.ReleaseProgressing, "step 1"),
				phase(v1alpha1.ReleaseProgressing, "step 2"), phase(v1alpha1.ReleaseServing, "done"),
			},
			nil, ExitOK,
			"12:00:00  release shop/cart: Progressing: step 1\n12:00:00  release shop/cart: Progressing: step 2\n12:00:00  release shop/cart: Serving: done\n",
			"", 3 * time.Second,
		},
		"an abort ends it": {
			[]func(*v1alpha1.Release) error{phase(v1alpha1.ReleaseAborting, "back"), phase(v1alpha1.ReleaseAborted, "5.2 % errors")},
			nil, ExitRefused,
			"12:00:00  release shop/cart: Aborting: back\n12:00:00  release shop/cart: Aborted: 5.2 % errors\n",
			"Error: Release shop/cart was aborted: 5.2 % errors\n", time.Second,
		},
		"a phase of an older spec does not end it": {
			[]func(*v1alpha1.Release) error{
				func(r *v1alpha1.Release) error { r.Generation = 3; return phase(v1alpha1.ReleaseAborted, "old")(r) },
				phase(v1alpha1.ReleaseServing, "new"),
			},
			nil, ExitOK,
			"12:00:00  release shop/cart: Aborted: the status speaks of generation 2 of the spec; generation 3 has not been looked at yet: old\n12:00:00  release shop/cart: Serving: new\n",
			"", time.Second,
		},
		"the time runs out": {
			[]func(*v1alpha1.Release) error{phase(v1alpha1.ReleasePaused, "waits for an approval")},
			[]string{"--timeout", "90s"},
			ExitTimeout,
			"12:00:00  release shop/cart: Paused: waits for an approval\n",
			"Error: Release shop/cart is still Paused after 1m30s: waits for an approval\n", 90 * time.Second,
		},
		"an API server that is away is waited for": {
			[]func(*v1alpha1.Release) error{phase(v1alpha1.ReleaseProgressing, "step 1"), lost, lost, phase(v1alpha1.ReleaseServing, "done")},
			nil, ExitOK,
			"12:00:00  release shop/cart: Progressing: step 1\n12:00:00  release shop/cart: Serving: done\n",
			"Trying again: reading Release shop/cart: connection refused\n", 3 * time.Second,
		},
		"one that never answered is an error": {
			[]func(*v1alpha1.Release) error{lost},
			nil, ExitError, "",
			"Error: reading Release shop/cart: connection refused\n", 0,
		},
		"a deleted release is an error": {
			[]func(*v1alpha1.Release) error{phase(v1alpha1.ReleaseProgressing, "step 1"), gone},
			nil, ExitError,
			"12:00:00  release shop/cart: Progressing: step 1\n", "Error: there is no Release \"cart\" in namespace \"shop\"; did you mean cart?\n", time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, play(c.scenes...), newRelease("shop", "cart", ""))
			synctest.Test(t, func(t *testing.T) {
				// Time is free in here; a watch that never ends must not be.
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				start := time.Now()
				code := w.run(ctx, append([]string{"status", "cart", "-n", "shop", "--watch"}, c.args...)...)
				w.wantCode(code, c.code)
				if took := time.Since(start); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
			})
			wantText(t, "out", w.out.String(), c.out)
			wantText(t, "err", w.err.String(), c.err)
		})
	}
}

func TestStatusWatchRedrawsATerminal(t *testing.T) {
	w := newWorld(t, play(phase(v1alpha1.ReleaseProgressing, "step 1"), phase(v1alpha1.ReleaseServing, "done")), newRelease("shop", "cart", ""))
	w.terminal, w.env = true, map[string]string{"NO_COLOR": "1"}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w.wantCode(w.run(ctx, "status", "cart", "-n", "shop", "-w"), ExitOK)
	})
	wantPart(t, "out", w.out.String(), "`- step 1\x1b[K\n", "\x1b[2A", "`- done\x1b[K\n")
}

func TestStatusWatchPrintsADocumentForEachChange(t *testing.T) {
	w := newWorld(t, play(phase(v1alpha1.ReleaseProgressing, "1"), phase(v1alpha1.ReleaseProgressing, "1"), phase(v1alpha1.ReleaseServing, "2")), newRelease("shop", "cart", ""))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w.wantCode(w.run(ctx, "status", "cart", "-n", "shop", "-w", "-o", "json"), ExitOK)
	})
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("wanted 2 documents, found %d:\n%s", len(lines), w.out.String())
	}
	wantPart(t, "the last", lines[1], `"outcome":"Serving"`)
}

func TestCtrlCEndsAWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t, play(func(*v1alpha1.Release) error { cancel(); return nil }), newRelease("shop", "cart", v1alpha1.ReleaseProgressing))
	w.wantCode(w.run(ctx, "status", "cart", "-n", "shop", "-w"), ExitInterrupted)
}

// answer returns functions that play the manager: each command gets an outcome when it
// is looked at for the n-th time.
func answer(n int, outcome v1alpha1.CommandOutcome, message string) interceptor.Funcs {
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		if err := c.Get(ctx, key, obj, opts...); err != nil {
			return err
		}
		if r, ok := obj.(*v1alpha1.RolloutCommand); ok {
			if n--; n <= 0 {
				r.Status.Outcome, r.Status.Message = outcome, message
			}
		}
		return nil
	}}
}

func TestDecisionsBecomeCommandsForTheNewestRollout(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want v1alpha1.RolloutCommandSpec
	}{
		"approve takes the current step": {[]string{"approve", "cart"}, v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: "approve", Step: 3}},
		"or the one that is named":       {[]string{"approve", "cart", "--step", "3", "--reason", "fine"}, v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: "approve", Step: 3, Reason: "fine"}},
		"abort":                          {[]string{"abort", "cart", "--reason", "it burns"}, v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: "abort", Reason: "it burns"}},
		"pause":                          {[]string{"pause", "cart"}, v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: "pause"}},
		"resume":                         {[]string{"resume", "cart"}, v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: "resume"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, answer(3, v1alpha1.OutcomeApplied, "noted."), shop()...)
			synctest.Test(t, func(t *testing.T) {
				w.wantCode(w.run(t.Context(), append(c.args, "-n", "shop")...), ExitOK)
			})
			var all v1alpha1.RolloutCommandList
			if err := w.client.List(t.Context(), &all, client.InNamespace("shop"), client.MatchingLabels{v1alpha1.LabelRollout: "cart-2", v1alpha1.LabelRelease: "cart"}); err != nil {
				t.Fatal(err)
			}
			if len(all.Items) != 1 || !equality.Semantic.DeepEqual(all.Items[0].Spec, c.want) {
				t.Errorf("got %+v, want one of %+v", all.Items, c.want)
			}
			wantPart(t, "out", w.out.String(), "cart-2: Applied: noted.\n")
			wantPart(t, "err", w.err.String(), "Created RolloutCommand shop/cart-2-"+string(c.want.Action)+"-")
		})
	}
}

func TestWhatBecomesOfADecision(t *testing.T) {
	never := answer(1<<30, "", "")
	denied := interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Group: "tidegate.io", Resource: "rolloutcommands"}, "", errors.New("bob may not approve; ask for the role tidegate-approve"))
	}}
	down := interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return apierrors.NewInternalError(errors.New("webhook is away"))
	}}
	for name, c := range map[string]struct {
		funcs interceptor.Funcs
		args  []string
		code  int
		out   string
		err   string
	}{
		"refused by the manager":           {answer(1, v1alpha1.OutcomeRefused, "the step has passed."), nil, ExitRefused, "approve of step 3 of cart-2: Refused: the step has passed.\n", "Error: approve of step 3 of cart-2 was refused: the step has passed.\n"},
		"refused by the webhook, verbatim": {denied, nil, ExitRefused, "", `Error: rolloutcommands.tidegate.io is forbidden: bob may not approve; ask for the role tidegate-approve`},
		"not created":                      {down, nil, ExitError, "", "webhook is away"},
		"no answer":                        {never, nil, ExitTimeout, "", "Error: no answer to approve of step 3 of cart-2 after 10s; the command stands: look at it with: kubectl get rolloutcommand -n shop cart-2-approve-"},
		"not waited for":                   {never, []string{"--wait", "0s"}, ExitOK, "", "Created RolloutCommand"},
		"printed as YAML":                  {answer(1, v1alpha1.OutcomeApplied, "noted."), []string{"-o", "yaml"}, ExitOK, "kind: RolloutCommand\n", "Created RolloutCommand"},
		"printed as a name":                {answer(1, v1alpha1.OutcomeApplied, "noted."), []string{"-o", "name"}, ExitOK, "rolloutcommand.tidegate.io/cart-2-approve-", "Created RolloutCommand"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.funcs, shop()...)
			synctest.Test(t, func(t *testing.T) {
				w.wantCode(w.run(t.Context(), append([]string{"approve", "cart", "-n", "shop"}, c.args...)...), c.code)
			})
			wantPart(t, "out", w.out.String(), c.out)
			wantPart(t, "err", w.err.String(), c.err)
		})
	}
}

func TestARightToReadThatIsMissingIsNoRefusalOfADecision(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "releases"}, "cart", errors.New("no"))
	}}, shop()...)
	w.wantCode(w.run(t.Context(), "pause", "cart", "-n", "shop"), ExitError)
	wantPart(t, "err", w.err.String(), "Error: reading Release shop/cart: ")
}

func TestDecisionsAboutAnEndedRollout(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, newRelease("shop", "cart", v1alpha1.ReleaseServing), newRollout("shop", "cart", 2, v1alpha1.RolloutSucceeded))
	w.wantCode(w.run(t.Context(), "abort", "cart", "-n", "shop", "--reason", "x"), ExitRefused)
	wantPart(t, "err", w.err.String(), "Rollout cart-2 has ended (Succeeded), so there is nothing to abort")
}

type cluster struct {
	groups  []string
	failure error
}

func (d cluster) ServerVersion() (*version.Info, error) {
	return &version.Info{GitVersion: "v1.37.2"}, d.failure
}

func (d cluster) ServerGroups() (*metav1.APIGroupList, error) {
	list := &metav1.APIGroupList{}
	for _, g := range d.groups {
		list.Groups = append(list.Groups, metav1.APIGroup{Name: g, Versions: []metav1.GroupVersionForDiscovery{{Version: "v1alpha1"}}})
	}
	return list, nil
}

func TestVersion(t *testing.T) {
	manager := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: "tidegate-manager", Labels: map[string]string{"app.kubernetes.io/version": "v0.1.0"}}}
	for name, c := range map[string]struct {
		discover cluster
		objects  []client.Object
		args     []string
		out      []string
		err      string
	}{
		"of all parts":         {cluster{groups: []string{"apps", "tidegate.io"}}, []client.Object{manager}, nil, []string{"client: ", "manager: v0.1.0\n", "api: tidegate.io [v1alpha1]\n", "kubernetes: v1.37.2\n"}, ""},
		"of an empty cluster":  {cluster{}, nil, nil, []string{"manager: no Deployment tidegate-manager in tidegate-system\n", "api: not installed\n"}, ""},
		"without a cluster":    {cluster{failure: errors.New("connection refused")}, nil, nil, []string{"client: "}, "The cluster was not reached: asking for the version of Kubernetes: connection refused"},
		"of the client alone":  {cluster{failure: errors.New("connection refused")}, nil, []string{"--client"}, []string{"client: "}, ""},
		"as JSON":              {cluster{groups: []string{"tidegate.io"}}, []client.Object{manager}, []string{"-o", "json"}, []string{`"manager": "v0.1.0"`, `"kubernetes": "v1.37.2"`, `"go": "go1.`}, ""},
		"as YAML, not there":   {cluster{}, nil, []string{"-o", "yaml"}, []string{"api: []\n"}, ""},
		"in another namespace": {cluster{}, []client.Object{manager}, []string{"--manager-namespace", "gate"}, []string{"manager: no Deployment tidegate-manager in gate\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{}, c.objects...)
			w.discover = func() (Discovery, error) { return c.discover, nil }
			w.wantCode(w.run(t.Context(), append([]string{"version"}, c.args...)...), ExitOK)
			wantPart(t, "out", w.out.String(), c.out...)
			if c.err == "" {
				wantText(t, "err", w.err.String(), "")
			}
			wantPart(t, "err", w.err.String(), c.err)
		})
	}
}

func TestTheUsageNamesTheProgramAsItWasCalled(t *testing.T) {
	for argument, want := range map[string]string{
		"/usr/bin/tidegate": "tidegate", "bin/kubectl-tidegate": "kubectl tidegate", "kubectl-tidegate.exe": "kubectl tidegate", "/tmp/a.out": "tidegate",
	} {
		if got := ProgramName(argument); got != want {
			t.Errorf("%s: got %q, want %q", argument, got, want)
		}
	}
	w := newWorld(t, interceptor.Funcs{})
	w.name = "kubectl tidegate"
	w.wantCode(w.run(t.Context(), "status", "--help"), ExitOK)
	wantPart(t, "help", w.out.String(), "kubectl tidegate status RELEASE", "  kubectl tidegate status cart --watch --timeout 10m\n")
	w.wantCode(w.run(t.Context(), "status"), ExitError)
	wantPart(t, "usage", w.err.String(), "Usage: kubectl tidegate status RELEASE")
}

func TestCompletion(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, shop()...)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		w.wantCode(w.run(t.Context(), "completion", shell), ExitOK)
		wantPart(t, shell, w.out.String(), "tidegate")
	}
	w.wantCode(w.run(t.Context(), cobra.ShellCompRequestCmd, "status", "-n", "shop", ""), ExitOK)
	wantPart(t, "releases", w.out.String(), "cart\ncheckout\n:4")
	w.wantCode(w.run(t.Context(), cobra.ShellCompRequestCmd, "get", ""), ExitOK)
	wantPart(t, "kinds", w.out.String(), "releases\nrollouts\ntemplates\ncommands\ntemplaterevisions\ntemplatecommands\n:4")
}
