package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestUpgradeStartsNothing builds the manager a second time, with types that have more fields, in another
// order, and lets that build look after what this one has left: at rest, and in the midst of a
// rollout. It must make no Rollout and write no workload, and it must be able to go on.
func TestUpgradeStartsNothing(t *testing.T) {
	if !*everything {
		t.Skip("make fault runs this")
	}
	next := nextBuild(t)
	l := newLab(t)
	for _, play := range []*scenario{
		{name: "resting", template: canary, before: "v1", pods: 2, begin: func(*world) {}},
		{
			name: "under-way", template: checked, before: "v1", pods: 2,
			begin: func(w *world) { w.apply("v2", 2) },
			judge: func(*v1alpha1.Rollout) v1alpha1.Verdict { return v1alpha1.VerdictInconclusive },
		},
		{name: "stateful-resting", template: stateful, before: "v1", pods: 3, begin: func(*world) {}},
	} {
		l.publish(play.name, play.template)
		t.Run(play.name, func(t *testing.T) {
			w := newWorld(t, l, play)
			m := w.prepare()
			play.begin(w)
			under := play.name == "under-way"
			if under && !await(t.Context(), within, func() bool {
				r := last[*v1alpha1.Rollout](l.journal, w.namespace, "cart-2")
				return r != nil && r.Status.Weight == 20 && r.Status.Analysis != nil
			}) || !w.rests() && !under {
				t.Fatalf("the first build does not get there:%s", w.explain())
			}
			m.kill()
			before := l.journal.length(w.namespace)
			fields := w.hand(next, under)
			if mine := fieldsOf(); slices.Equal(fields, mine) {
				t.Fatalf("the second build has the fields %v, which are those of the first", fields)
			}
			w.upgraded(l.journal.of(w.namespace), before, under)
		})
	}
}

// upgraded looks at what the second build has written, which is all from a place on.
func (w *world) upgraded(all []entry, from int, under bool) {
	was := map[string]entry{}
	for i, e := range all {
		key := keyOf(e.object)
		if i >= from && (!under || key == "*v1alpha1.Rollout cart-3") {
			w.t.Errorf("after the upgrade: %s:\n%s", e, lines(text(w.t, was[key].object), text(w.t, e.object)))
		}
		was[key] = e
	}
	w.verify("upgraded")
	if !under {
		return
	}
	r := last[*v1alpha1.Rollout](w.lab.journal, w.namespace, "cart-2")
	if r == nil || r.Status.Phase != v1alpha1.RolloutSucceeded {
		w.t.Errorf("the second build does not bring to an end what the first began:%s", w.explain())
	}
}

// text is an object as it is encoded.
func text(t *testing.T, o client.Object) string {
	t.Helper()
	data, err := json.MarshalIndent(o, "", " ")
	must(t, err)
	return string(data)
}

// handover is what a test tells the second build.
type handover struct {
	Host, CertFile, KeyFile, CAFile string
	Namespace, Template, Text       string
	// Finish asks for the end of the rollout that is under way.
	Finish bool
}

const handoverVariable = "FAULT_TEST_HANDOVER"

// hand lets the second build look after this world until it has nothing to do, and returns the
// fields of its types.
func (w *world) hand(program string, finish bool) []string {
	w.t.Helper()
	tls := w.lab.config.TLSClientConfig
	told, err := json.Marshal(handover{
		Host: w.lab.config.Host, CertFile: w.file("cert", tls.CertFile, tls.CertData), KeyFile: w.file("key", tls.KeyFile, tls.KeyData),
		CAFile: w.file("ca", tls.CAFile, tls.CAData), Namespace: w.namespace, Template: w.play.name, Text: w.play.template, Finish: finish,
	})
	must(w.t, err)
	cmd := exec.CommandContext(w.t.Context(), program, "-test.run", "^TestSecondBuild$", "-test.v", "-test.timeout", "6m")
	cmd.Env = append(os.Environ(), handoverVariable+"="+string(told))
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("the second build: %v\n%s%s", err, out, w.explain())
	}
	for line := range strings.Lines(string(out)) {
		if _, fields, ok := strings.Cut(line, "fields: "); ok {
			return strings.Fields(fields)
		}
	}
	w.t.Fatalf("the second build has not told its fields:\n%s", out)
	return nil
}

func (w *world) file(name, path string, data []byte) string {
	if len(data) == 0 {
		return path
	}
	path = filepath.Join(w.t.TempDir(), name)
	must(w.t, os.WriteFile(path, data, 0o600))
	return path
}

// fieldsOf are the fields of a few types, in the order in which this build has them.
func fieldsOf() []string {
	var out []string
	for _, t := range []reflect.Type{reflect.TypeFor[v1alpha1.Strategy](), reflect.TypeFor[v1alpha1.RolloutSpec](), reflect.TypeFor[v1alpha1.RolloutStatus]()} {
		for f := range t.Fields() {
			out = append(out, f.Name)
		}
	}
	return out
}

// TestSecondBuild is the second build: it looks after the world that it is told of.
func TestSecondBuild(t *testing.T) {
	told := os.Getenv(handoverVariable)
	if told == "" {
		t.Skip("only TestUpgradeStartsNothing runs this")
	}
	var h handover
	must(t, json.Unmarshal([]byte(told), &h))
	t.Logf("fields: %s", strings.Join(fieldsOf(), " "))
	l := connect(t, &rest.Config{Host: h.Host, TLSClientConfig: rest.TLSClientConfig{CertFile: h.CertFile, KeyFile: h.KeyFile, CAFile: h.CAFile}})
	l.know(h.Template, h.Text)
	play := &scenario{name: h.Template}
	w := &world{t: t, lab: l, play: play, namespace: h.Namespace, clock: &skewed{}, measurer: &measurer{}, hooks: newHooks()}
	t.Cleanup(w.killAll)
	m := w.start()
	m.arm()
	if h.Finish && !await(t.Context(), within, func() bool {
		var r v1alpha1.Rollout
		err := l.client.Get(t.Context(), client.ObjectKey{Namespace: h.Namespace, Name: "cart-2"}, &r)
		return err == nil && r.Status.Phase.Terminal()
	}) {
		t.Error("the rollout does not end")
	}
	if !w.quiet(settled) {
		t.Errorf("it goes on writing: %q, and the events %q", m.list(write), m.list(event))
	}
}

// nextBuild builds this test once more, with types that differ, and returns where it is.
func nextBuild(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	paths, err := filepath.Glob("../../schemas/v1alpha1/*.go")
	must(t, err)
	replaced, changed := map[string]string{}, 0
	for i, path := range paths {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.Base(path), "zz_") {
			continue
		}
		text, n, err := differing(path)
		must(t, err)
		changed += n
		path, err = filepath.Abs(path)
		must(t, err)
		replaced[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		must(t, os.WriteFile(replaced[path], text, 0o600))
	}
	if changed < 20 {
		t.Fatalf("%d types were changed, which are too few to tell anything", changed)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program := filepath.Join(dir, "next.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building once more: %v\n%s", err, out)
	}
	return program
}

// differing is a file whose structs have their fields in the opposite order, and new ones: one that is left out
// of JSON while it is empty, and one that is not.
func differing(path string) ([]byte, int, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, 0, err
	}
	changed := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*ast.StructType)
		if !ok || len(s.Fields.List) == 0 || slices.ContainsFunc(s.Fields.List, func(f *ast.Field) bool { return len(f.Names) == 0 }) {
			return true // an object of its own, which has metadata
		}
		changed++
		slices.Reverse(s.Fields.List)
		s.Fields.List = append([]*ast.Field{novelty("Novelty", "string", "novelty,omitempty"), novelty("Novelties", "int64", "novelties")}, s.Fields.List...)
		return true
	})
	var out bytes.Buffer
	if err := format.Node(&out, set, file); err != nil {
		return nil, 0, err
	}
	return out.Bytes(), changed, nil
}

func novelty(name, kind, tag string) *ast.Field {
	return &ast.Field{
		Names: []*ast.Ident{ast.NewIdent(name)}, Type: ast.NewIdent(kind),
		Tag: &ast.BasicLit{Kind: token.STRING, Value: "`json:\"" + tag + "\"`"},
	}
}
