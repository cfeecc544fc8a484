package impact

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// rendered is what a scripted template makes of a Release.
func rendered(revision, digest string, spec map[string]any) *render.Result {
	return &render.Result{
		Revision: revision, Digest: digest, Replicas: 2,
		Set: []*unstructured.Unstructured{{Object: map[string]any{
			"kind": "Deployment", "metadata": map[string]any{"name": "cart-" + revision, "labels": map[string]any{"tidegate.io/revision": revision}}, "spec": spec,
		}}},
		Route: &unstructured.Unstructured{Object: map[string]any{"kind": "HTTPRoute", "metadata": map[string]any{"name": "cart"}}},
	}
}

// scripted renders by the name of the source and the name of the Release.
func scripted(_ context.Context, s Source, _ []byte, c render.Context) (*render.Result, error) {
	broken := &render.ValuesError{Problems: []render.Problem{{Path: "values.port", Message: "wanted 1 to 10, found 70"}, {Path: "values.x", Message: "gone"}}}
	isNew := s.Name == ""
	switch {
	case c.Name == "breaks" && isNew, c.Name == "stays-broken", c.Name == "mended" && !isNew:
		return nil, broken
	case c.Name == "lost":
		return nil, errors.New("no answer")
	case c.Name == "rolls" && isNew:
		return rendered("bbbbbbbbbb", "sha256:b", nil), nil
	case c.Name == "in-place" && isNew:
		return rendered("aaaaaaaaaa", "sha256:b", nil), nil
	}
	return rendered("aaaaaaaaaa", "sha256:a", nil), nil
}

func release(name string) *v1alpha1.Release {
	return &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}, Values: &runtime.RawExtension{Raw: []byte(`{}`)}},
	}
}

var before = Source{Name: "web-1", Files: map[string]string{"web.cue": "x"}}

func each(subjects ...Subject) iter.Seq2[Subject, error] {
	return func(yield func(Subject, error) bool) {
		for _, s := range subjects {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func TestEffects(t *testing.T) {
	for name, c := range map[string]struct {
		subject Subject
		want    Effect
	}{
		"the same digest is unchanged":                     {Subject{Release: release("same"), Before: before}, Unchanged},
		"another digest of the same revision is in place":  {Subject{Release: release("in-place"), Before: before}, InPlace},
		"another revision rolls":                           {Subject{Release: release("rolls"), Before: before}, Rolls},
		"what rendered and would not is broken":            {Subject{Release: release("breaks"), Before: before}, Broken},
		"what never rendered is not to be blamed":          {Subject{Release: release("stays-broken"), Before: before}, WasBroken},
		"what did not render and would is mended":          {Subject{Release: release("mended"), Before: before}, Mended},
		"what has no revision yet rolls":                   {Subject{Release: release("same")}, Rolls},
		"what has no revision yet and does not render":     {Subject{Release: release("breaks")}, Broken},
		"what is on record is not rendered to be compared": {Subject{Release: release("same"), Before: before, Standing: &Standing{"aaaaaaaaaa", "sha256:other", false}}, InPlace},
		"what was rejected is not tried again":             {Subject{Release: release("same"), Before: before, Standing: &Standing{"aaaaaaaaaa", "sha256:other", true}}, Unchanged},
		"what was rejected is tried with another revision": {Subject{Release: release("rolls"), Before: before, Standing: &Standing{"aaaaaaaaaa", "sha256:other", true}}, Rolls},
		"what is on record and renders no more was broken": {Subject{Release: release("stays-broken"), Before: before, Standing: &Standing{"aaaaaaaaaa", "sha256:a", false}}, WasBroken},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Outcome
			s, err := Run(t.Context(), Options{Render: scripted}, each(c.subject), func(o Outcome) error { got = append(got, o); return nil })
			if err != nil || len(got) != 1 || s.Looked != 1 {
				t.Fatalf("%+v %+v %v", got, s, err)
			}
			if got[0].Effect != c.want {
				t.Errorf("wanted %s, found %s", c.want, got[0].Effect)
			}
			bad := c.want == Broken || c.want == WasBroken
			if bad != (got[0].Code == "TG-VALUES-INVALID") || bad && !slices.Equal(got[0].Mistakes, []string{"values.port: wanted 1 to 10, found 70", "values.x: gone"}) {
				t.Errorf("wanted the mistakes that the team would see, found %s %q", got[0].Code, got[0].Mistakes)
			}
		})
	}
}

func TestOutcomesComeInOrderAndAreCounted(t *testing.T) {
	names := []string{"same", "in-place", "rolls", "breaks", "stays-broken", "mended"}
	var subjects []Subject
	for i := range 600 {
		subjects = append(subjects, Subject{Release: release(names[i%len(names)]), Before: before})
	}
	for _, concurrency := range []int{0, 1, 2, 16} {
		i := 0
		var running, most atomic.Int64
		s, err := Run(t.Context(), Options{
			Concurrency: concurrency,
			Render: func(ctx context.Context, s Source, v []byte, c render.Context) (*render.Result, error) {
				n := running.Add(1)
				defer running.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				return scripted(ctx, s, v, c)
			},
			Judge: func(_ context.Context, r *v1alpha1.Release, _ Source, _ *render.Result) (denials, warnings []string, err error) {
				if r.Name == "same" {
					t.Error("what stays as it is was judged")
				}
				if r.Name == "rolls" {
					return []string{"no"}, nil, nil
				}
				return nil, []string{"hm"}, nil
			},
		}, each(subjects...), func(o Outcome) error {
			if o.Name != names[i%len(names)] {
				t.Errorf("outcome %d is of %s", i, o.Name)
			}
			i++
			return nil
		})
		want := Summary{Looked: 600, Unchanged: 100, InPlace: 100, Rolls: 100, Broken: 100, WasBroken: 100, Mended: 100, Denied: 100}
		if err != nil || s != want {
			t.Errorf("concurrency %d: %+v %v", concurrency, s, err)
		}
		if int(most.Load()) > max(concurrency, 1) {
			t.Errorf("concurrency %d: %d at once", concurrency, most.Load())
		}
	}
}

func TestAFailureIsNoVerdict(t *testing.T) {
	all := []Subject{{Release: release("same"), Before: before}, {Release: release("lost"), Before: before}, {Release: release("same"), Before: before}}
	if _, err := Run(t.Context(), Options{Render: scripted, Concurrency: 2}, each(all...), nil); err == nil || !strings.Contains(err.Error(), "rendering Release shop/lost: no answer") {
		t.Errorf("found %v", err)
	}
	stop := errors.New("enough")
	if _, err := Run(t.Context(), Options{Render: scripted}, each(all...), func(Outcome) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("found %v", err)
	}
	broken := func(yield func(Subject, error) bool) { yield(Subject{}, stop) }
	if _, err := Run(t.Context(), Options{Render: scripted}, broken, nil); !errors.Is(err, stop) {
		t.Errorf("found %v", err)
	}
	judge := func(context.Context, *v1alpha1.Release, Source, *render.Result) (denials, warnings []string, err error) {
		return nil, nil, stop
	}
	if _, err := Run(t.Context(), Options{Render: scripted, Judge: judge}, each(Subject{Release: release("rolls"), Before: before}), nil); !errors.Is(err, stop) {
		t.Errorf("found %v", err)
	}
}

// The end of the time is no failure: what was seen until then is told.
func TestTheEndOfTheTimeEndsTheLook(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := func(yield func(Subject, error) bool) {
		for i := 0; yield(Subject{Release: release(fmt.Sprint("r", i)), Before: before}, nil); i++ {
		}
	}
	seen := 0
	s, err := Run(ctx, Options{Render: func(ctx context.Context, s Source, v []byte, c render.Context) (*render.Result, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return scripted(ctx, s, v, c)
	}, Concurrency: 3}, endless, func(Outcome) error {
		if seen++; seen == 50 {
			cancel()
		}
		return nil
	})
	if err != nil || s.Looked != seen || seen < 50 {
		t.Errorf("%+v %v, %d seen", s, err, seen)
	}
}

func TestDiff(t *testing.T) {
	containers := func(image string, env ...any) map[string]any {
		return map[string]any{"replicas": int64(2), "template": map[string]any{"containers": []any{
			map[string]any{"name": "app", "image": image, "env": env}, map[string]any{"name": "side"},
		}}}
	}
	variable := func(name, value string) any { return map[string]any{"name": name, "value": value} }
	for name, c := range map[string]struct {
		was, is *render.Result
		hidden  []string
		want    []ObjectChange
	}{
		"the revision alone is no difference": {
			was: rendered("aaaaaaaaaa", "", containers("x")), is: rendered("bbbbbbbbbb", "", containers("x")),
		},
		"containers are told by their name": {
			was: rendered("aaaaaaaaaa", "", containers("x:1")), is: rendered("bbbbbbbbbb", "", containers("x:2")),
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{{"spec.template.containers[app].image", `"x:1"`, `"x:2"`}}}},
		},
		"an entry that is new and one that is gone": {
			was: rendered("aaaaaaaaaa", "", containers("x", variable("A", "1"))), is: rendered("bbbbbbbbbb", "", containers("x", variable("B", "1"))),
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{
				{"spec.template.containers[app].env[A]", `{"name":"A","value":"1"}`, ""}, {"spec.template.containers[app].env[B]", "", `{"name":"B","value":"1"}`},
			}}},
		},
		"what is sensitive is not shown, wherever it went": {
			was:    rendered("aaaaaaaaaa", "", containers("x", variable("URL", "db://me:hunter2@db"), variable("B64", "aHVudGVyMg=="))),
			is:     rendered("bbbbbbbbbb", "", containers("x", variable("URL", "db://you:hunter2@db"), variable("B64", "other"))),
			hidden: []string{"hunter2"},
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{
				{"spec.template.containers[app].env[B64].value", `"(sensitive)"`, `"other"`},
				{"spec.template.containers[app].env[URL].value", `"(sensitive)"`, `"(sensitive)"`},
			}}},
		},
		"what is sensitive is not shown as a key, a name, or as JSON has it": {
			was: rendered("aaaaaaaaaa", "", map[string]any{"hunter2": "1", "l": []any{variable("hunter2", "1")}, "file": "{\"password\":\"a\\\"bcd\"}"}),
			is:  rendered("bbbbbbbbbb", "", map[string]any{"hunter2": "2", "l": []any{variable("hunter2", "2")}, "file": "{}"}), hidden: []string{"hunter2", `a"bcd`},
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{
				{"spec.file", `"(sensitive)"`, `"{}"`}, {"spec.(sensitive)", `"1"`, `"2"`}, {"spec.l[(sensitive)].value", `"1"`, `"2"`},
			}}},
		},
		"a short secret is hidden where it stands alone": {
			was: rendered("aaaaaaaaaa", "", map[string]any{"pin": "7", "port": "77"}), is: rendered("bbbbbbbbbb", "", map[string]any{"pin": "8", "port": "78"}), hidden: []string{"7", "8"},
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{{"spec.pin", `"(sensitive)"`, `"(sensitive)"`}, {"spec.port", `"77"`, `"78"`}}}},
		},
		"a key with dots": {
			was: rendered("aaaaaaaaaa", "", map[string]any{"a.b/c": "1"}), is: rendered("bbbbbbbbbb", "", map[string]any{}),
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{{`spec["a.b/c"]`, `"1"`, ""}}}},
		},
		"a list without names is told by place": {
			was: rendered("aaaaaaaaaa", "", map[string]any{"l": []any{"x", "y"}}), is: rendered("bbbbbbbbbb", "", map[string]any{"l": []any{"x", "z", "w"}}),
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{{"spec.l[1]", `"y"`, `"z"`}, {"spec.l[2]", "", `"w"`}}}},
		},
		"an order is a difference": {
			was: rendered("aaaaaaaaaa", "", map[string]any{"l": []any{variable("A", "1"), variable("B", "1")}}), is: rendered("bbbbbbbbbb", "", map[string]any{"l": []any{variable("B", "1"), variable("A", "1")}}),
			want: []ObjectChange{{"Deployment cart-<revision>", "changed", []FieldChange{{"spec.l", `["A","B"]`, `["B","A"]`}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Diff(c.was, c.is, c.hidden); !reflect.DeepEqual(got, c.want) {
				t.Errorf("found %+v", got)
			}
		})
	}
	t.Run("objects come and go, and the strategy counts", func(t *testing.T) {
		was, is := rendered("aaaaaaaaaa", "", nil), rendered("bbbbbbbbbb", "", nil)
		was.Route = nil
		was.Shared = []*unstructured.Unstructured{{Object: map[string]any{"kind": "Ingress", "metadata": map[string]any{"name": "cart"}}}}
		is.Strategy.Steps = []v1alpha1.Step{{SetWeight: new(int32(100))}}
		got := Diff(was, is, nil)
		if len(got) != 3 || got[0].Object+got[0].Change != "HTTPRoute cart"+"added" || got[1].Object+got[1].Change != "Ingress cart"+"removed" || got[2].Object != "rollout" {
			t.Errorf("found %+v", got)
		}
	})
}

func TestSecretsAreAskedOfBothRevisions(t *testing.T) {
	var asked []string
	options := Options{
		Objects: true,
		Render: func(_ context.Context, s Source, _ []byte, _ render.Context) (*render.Result, error) {
			if s.Name == "" {
				return rendered("bbbbbbbbbb", "sha256:b", map[string]any{"password": "hunter2"}), nil
			}
			return rendered("aaaaaaaaaa", "sha256:a", map[string]any{"password": "hunter1"}), nil
		},
		Secrets: func(s Source, _ []byte) ([]string, error) {
			asked = append(asked, s.Name)
			return []string{"hunter" + fmt.Sprint(len(asked))}, nil
		},
	}
	var got Outcome
	if _, err := Run(t.Context(), options, each(Subject{Release: release("cart"), Before: before}), func(o Outcome) error { got = o; return nil }); err != nil {
		t.Fatal(err)
	}
	options.Judge = func(context.Context, *v1alpha1.Release, Source, *render.Result) (denials, warnings []string, err error) {
		return []string{"found hunter1"}, []string{"found hunter2"}, nil
	}
	asked, options.Objects = nil, false
	var said Outcome
	if _, err := Run(t.Context(), options, each(Subject{Release: release("cart"), Before: before}), func(o Outcome) error { said = o; return nil }); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(said); strings.Contains(text, "hunter") || strings.Count(text, Hidden) != 2 {
		t.Errorf("what policies said is %s", text)
	}
	if !slices.Equal(asked, []string{"web-1", ""}) || !strings.Contains(fmt.Sprint(got.Objects), Hidden) || strings.Contains(fmt.Sprint(got.Objects), "hunter") {
		t.Errorf("asked %q, found %+v", asked, got.Objects)
	}
}
