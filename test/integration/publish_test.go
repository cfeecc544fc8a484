package integration

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/stage"
)

// TestPublishing plays what the person reads who publishes a template, or applies values, with
// everything real: the API server, the chart and a manager process with its workers. The cases
// follow each other.
func TestPublishing(t *testing.T) {
	p := &publisher{&people{play: onStage(t)}}
	p.begin()
	p.Run("a breaking change is refused, and one that is declared names whom it breaks", p.breaking)
	p.Run("mistakes that only show later are refused, and lesser ones are shown", p.vetted)
	p.Run("a variable that is fixed for life stays as it is", p.immutable)
	p.Run("a template that takes all memory is refused, and others are served meanwhile", p.bomb)
	p.Run("a choice is asked for in full", p.choice)
	p.Run("a channel leads to a revision that there is", p.channel)
	p.Run("a template in use is not deleted", p.inUse)
}

type publisher struct{ *people }

const (
	// shelf is the template of this test.
	shelf = "shelf"
	// shelfVariables are those that it begins with.
	shelfVariables = `	// The image of the service.
	image!: string
	// Where its data is.
	region: *"eu" | "us" @immutable()
	// How many requests it takes at once.
	limit: *10 | int
`
)

// shelfSource is the template with other variables, and with more at its end.
func shelfSource(variables, more string) string {
	source := strings.Replace(flowSource, "\t// The image of the service.\n\timage: string\n", variables, 1)
	return strings.Replace(fmt.Sprintf(source, "one"), "package flow", "package shelf", 1) + more
}

// publish applies a template and returns what whoever did so reads. Nothing is synced by itself.
func (p *publisher) publish(name, source string, spec map[string]any) (string, error) {
	p.Helper()
	all := map[string]any{"files": map[string]string{"shelf.cue": source}, "sync": map[string]any{"type": "Manual"}}
	maps.Copy(all, spec)
	raw, err := yaml.Marshal(map[string]any{
		"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseTemplate", "metadata": map[string]any{"name": name}, "spec": all,
	})
	if err != nil {
		p.Fatal(err)
	}
	return p.Kubectl(p.Context(), stage.Admin, string(raw), "apply", "--server-side", "-f", "-")
}

// refused publishes what has to be refused, in words that have all of want.
func (p *publisher) refused(t *testing.T, source string, spec map[string]any, want ...string) {
	t.Helper()
	out, err := p.publish(shelf, source, spec)
	if err == nil {
		t.Fatalf("wanted a refusal, found:\n%s", out)
	}
	has(t, out, want...)
}

// accepted publishes what has to be accepted, and waits for the revision.
func (p *publisher) accepted(t *testing.T, name string, number int, source string, spec map[string]any, want ...string) {
	t.Helper()
	out, err := p.publish(name, source, spec)
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	has(t, out, want...)
	p.published(name, number)
}

func (p *publisher) published(name string, number int) {
	p.Helper()
	p.await(fmt.Sprintf("revision %d of %s", number, name), func() (bool, string) {
		out := p.kubectl(stage.Admin, "", "get", "releasetemplate", name, "-o", "jsonpath={.status.latestRevision}")
		return brief(out) == fmt.Sprintf("%s-%d", name, number), out
	})
}

func has(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("wanted %q in:\n%s", w, out)
		}
	}
}

// team applies a Release as its team does.
func (p *publisher) team(name, template, values string) (string, error) {
	p.Helper()
	return p.Kubectl(p.Context(), stage.Team, fmt.Sprintf(`apiVersion: tidegate.io/v1alpha1
kind: Release
metadata: {name: %s, namespace: %s}
spec:
  template: {name: %s}
  values: %s
`, name, stage.Namespace, template, values), "apply", "-f", "-")
}

func (p *publisher) begin() {
	p.Helper()
	if out, err := p.publish(shelf, shelfSource(shelfVariables, ""), nil); err != nil || strings.Contains(out, "Warning") {
		p.Fatalf("wanted the first revision to be published without a word, found %v:\n%s", err, out)
	}
	p.published(shelf, 1)
	for name, values := range map[string]string{"cart": `{image: "shop/cart:1", limit: 500}`, "desk": `{image: "shop/desk:1"}`} {
		if out, err := p.team(name, shelf, values); err != nil {
			p.Fatalf("%v:\n%s", err, out)
		}
		p.awaitRelease(name, func(r *v1alpha1.Release) bool { return r.Status.Phase == v1alpha1.ReleaseServing })
	}
}

func (p *publisher) breaking(t *testing.T) {
	narrower := shelfSource(strings.Replace(shelfVariables, "*10 | int", "*10 | int & <=100", 1), "")
	p.refused(t, narrower, nil, "TG-TEMPLATE-BREAKING", "values.limit: ", "it was accepted and is refused now", "spec.allowBreakingAfter: 1")
	p.refused(t, narrower, map[string]any{"allowBreakingAfter": 2}, "TG-TEMPLATE-BREAKING")
	p.accepted(t, shelf, 2, narrower, map[string]any{"allowBreakingAfter": 1},
		"Warning: breaking, as declared: values.limit: ",
		"Warning: of 2 releases of template shelf: 1 unchanged, 0 change in place, 0 roll, 1 would break and keep what they have",
		"Warning: would break: shop/cart: values.limit: wanted an integer of at most 100, found 500")
	if r := p.theRelease("cart"); r.Status.Phase != v1alpha1.ReleaseServing || brief(r.Status.TemplateRevision) != shelf+"-1" {
		t.Errorf("I8: cart is %s on %s: %s", r.Status.Phase, r.Status.TemplateRevision, r.Status.Message)
	}
}

// narrow are the variables of the second revision.
var narrow = strings.Replace(shelfVariables, "*10 | int", "*10 | int & <=100", 1)

func (p *publisher) vetted(t *testing.T) {
	p.refused(t, shelfSource(narrow+"\t// A word that opens doors.\n\tword?: string @sensitve()\n", ""), nil,
		"TG-TEMPLATE-BROKEN", "wanted source without mistakes that only show later", "shelf.cue:", "@sensitve", "(unknown-attribute)", "tidegate template vet DIR")
	p.refused(t, strings.Replace(shelfSource(narrow, ""), "targetPort: 8080", "targetPort: 80801", 1), nil, "TG-TEMPLATE-BROKEN", "80801")
	p.accepted(t, shelf, 3, shelfSource(narrow+"\tword?: string\n", ""), nil, "Warning: shelf.cue:", "values.word: wanted a comment", "(undocumented-variable)")
}

func (p *publisher) immutable(t *testing.T) {
	out, err := p.team("desk", shelf, `{image: "shop/desk:1", region: us}`)
	if err == nil {
		t.Fatalf("wanted a refusal, found:\n%s", out)
	}
	has(t, out, "TG-VALUES-IMMUTABLE", `values.region: wanted "eu" as before, since the variable cannot be changed, found "us"`)
	if out, err := p.team("desk", shelf, `{image: "shop/desk:1", region: eu}`); err != nil {
		t.Errorf("what was the default is no change: %v:\n%s", err, out)
	}
}

func (p *publisher) bomb(t *testing.T) {
	// It doubles a text 34 times, which no machine has the memory for, within a second or two.
	var more strings.Builder
	more.WriteString("\n_d0: \"0123456789abcdef\"\n")
	for i := range 34 {
		fmt.Fprintf(&more, "_d%d: _d%d + _d%d\n", i+1, i, i)
	}
	var answer string
	answered := make(chan error, 1)
	go func() {
		out, err := p.publish(shelf, shelfSource(narrow, more.String()), nil)
		answer = out
		answered <- err
	}()
	served := 0
	for waits := true; waits; {
		if out, err := p.team("aside", shelf, fmt.Sprintf(`{image: "shop/aside:1", limit: %d}`, served+1)); err != nil {
			t.Errorf("another team's Release: %v:\n%s", err, out)
		}
		served++
		select {
		case err := <-answered:
			waits = false
			if err == nil {
				t.Fatalf("wanted the bomb to be refused, found:\n%s", answer)
			}
		default:
		}
	}
	has(t, answer, "TG-RENDER-BUDGET", `ReleaseTemplate "shelf"`, "found that more was needed")
	t.Logf("%d Releases were admitted before the bomb was refused", served)
	if out, err := p.publish(shelf, shelfSource(narrow, more.String()), nil); err == nil || !strings.Contains(out, "TG-RENDER-BUDGET") {
		t.Errorf("wanted the same answer from memory, found %v:\n%s", err, out)
	}
}

// choice shows that a struct whose conditions hang on what must be set works from the
// publishing to the pod.
func (p *publisher) choice(t *testing.T) {
	const store = `	// What the data is kept in.
	store!: "disk" | "bucket"
	if store == "disk" {
		// Where the disk is mounted.
		path!: string
	}
	if store == "bucket" {
		// The name of the bucket.
		bucket!: string
	}
`
	p.accepted(t, "choice", 1, shelfSource(shelfVariables+store, ""), nil)
	for values, want := range map[string]string{
		`{image: "shop/pick:1"}`:                               `values.store: wanted one of "disk", "bucket", found nothing; set store`,
		`{image: "shop/pick:1", store: disk}`:                  "values.path: wanted a string, found nothing; set path",
		`{image: "shop/pick:1", store: disc, path: /d}`:        `values.store: wanted one of "disk", "bucket", found "disc"; did you mean "disk"?`,
		`{image: "shop/pick:1", store: bucket, path: /data/1}`: "values.bucket: wanted a string, found nothing; set bucket",
	} {
		out, err := p.team("pick", "choice", values)
		if err == nil {
			t.Errorf("%s: wanted a refusal, found:\n%s", values, out)
		}
		has(t, out, "TG-VALUES-INVALID", want)
	}
	if out, err := p.team("pick", "choice", `{image: "shop/pick:1", store: disk, path: /d}`); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	p.awaitRelease("pick", func(r *v1alpha1.Release) bool { return r.Status.Phase == v1alpha1.ReleaseServing })
}

func (p *publisher) channel(t *testing.T) {
	source := shelfSource(narrow+"\tword?: string\n", "")
	to := func(n int) map[string]any {
		return map[string]any{"channels": []any{map[string]any{"name": "stable", "revision": n}}}
	}
	p.refused(t, source, to(9), "TG-TEMPLATE-CHANNEL", "spec.channels[0] stable: wanted the number of a revision, one of 3, 2, 1, found 9")
	p.accepted(t, shelf, 3, source, to(2))
}

func (p *publisher) inUse(t *testing.T) {
	out, err := p.Kubectl(t.Context(), stage.Admin, "", "delete", "releasetemplate", shelf)
	if err == nil {
		t.Fatalf("wanted a refusal, found:\n%s", out)
	}
	has(t, out, "TG-TEMPLATE-INUSE", "found 3: shop/aside, shop/cart, shop/desk")
}
