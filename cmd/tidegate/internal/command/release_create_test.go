package command

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// questions is a template with a variable of every kind of question.
const questions = `package shop

#Variables: {
	// The image.
	image!: =~"^.+:.+$" @wanted("an image with a tag, such as shop/cart:1.2") @ui(title="Image", order=1)
	// How loud it is.
	level: *"info" | "debug" | "warn" @ui(group="Running")
	replicas: *2 | int & >=1 & <=10 @ui(group="Running")
	debug: *false | bool @ui(group="Running")
	env: [=~"^[A-Z]+$"]: string
	hosts: [...=~"^[a-z.]+$"]
	store?: {type: "disk", path!: string} | {type: "bucket", bucket!: string}
	limits: {cpu: *1 | int, memory: *64 | int}
	sidecars?: [...{name!: string}]
	secret?: =~"^[a-z]{4}$" @sensitive()
	tuning: *5 | int @ui(advanced)
	auth: *"none" | "basic"
	if auth == "basic" {
		user!: =~"^[a-z]+$"
	}
}
`

func questionsDir(t *testing.T) string {
	t.Helper()
	web, err := os.ReadFile("testdata/web/web.cue")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(web), "#Context:")
	if !ok {
		t.Fatal("wanted #Context in the template web")
	}
	rest = strings.ReplaceAll(rest, "values.containerPort", "8080")
	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "shop.cue"), []byte(questions+"#Context:"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// answers are typed one a line.
func answers(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

const releaseHead = "apiVersion: tidegate.io/v1alpha1\nkind: Release\nmetadata:\n  name: cart\n  namespace: shop\nspec:\n  template:\n    name: shop\n  values:\n"

func TestReleaseCreateAsks(t *testing.T) {
	dir := questionsDir(t)
	for name, c := range map[string]struct {
		args []string
		in   string
		// values is what the Release has.
		values string
		// said are parts of the dialogue.
		said []string
	}{
		"the defaults, by pressing return": {
			nil, answers("a:1", "", "", "", "", "", "", "", "", "", ""),
			"    image: a:1\n",
			[]string{"Image (image): The image.\n  an image with a tag, such as shop/cart:1.2: ", "\n== Running\n", "level: How loud it is.\n  one of info, debug, warn [info]: ", "an integer from 1 to 10 [2]: ", "yes or no [false]: ", "[leave out]: "},
		},
		"a mistake, answered with the gate's words": {
			nil, answers("cart", "a:1", "", "11", "10", "", "", "", "", "", "", "", ""),
			"    image: a:1\n    replicas: 10\n",
			[]string{`values.image: wanted an image with a tag, such as shop/cart:1.2, found "cart"`, "values.replicas: wanted an integer from 1 to 10, found 11"},
		},
		"nothing where something must be": {
			nil, answers("", "a:1", "", "", "", "", "", "", "", "", "", ""),
			"    image: a:1\n",
			[]string{`found ""`},
		},
		"answers that are the defaults": {
			nil, answers("a:1", "info", "2", "no", "", "", "", "", "", "", ""),
			"    image: a:1\n", nil,
		},
		"everything": {
			[]string{"--all"},
			answers("a:1", "warn", "3", "y", "bad", "A", "1", "", "X.Y", "x.y", "", "2", "b1", "y", "2", "", "y", "proxy", "n", "SECRET", "abcd", "7", ""),
			"    debug: true\n    env:\n      A: \"1\"\n    hosts:\n    - x.y\n    image: a:1\n    level: warn\n    limits:\n      cpu: 2\n    replicas: 3\n    secret: abcd\n    sidecars:\n    - name: proxy\n    store:\n      bucket: b1\n      type: bucket\n    tuning: 7\n",
			[]string{`values.env.bad: wanted a name matching ^[A-Z]+$, found "bad"`, `values.hosts[0]: wanted a string matching ^[a-z.]+$, found "X.Y"`, "2: type, bucket (type is bucket)", "Careful: whoever can read the Release can read this.", "values.secret: wanted a string matching ^[a-z]{4}$, found something that is not shown"},
		},
		"what another answer asks for": {
			nil, answers("a:1", "", "", "", "", "", "", "", "", "", "basic", "Me", "me"),
			"    auth: basic\n    image: a:1\n    user: me\n",
			[]string{"values.user: wanted a string matching ^[a-z]+$, found nothing; set user", `values.user: wanted a string matching ^[a-z]+$, found "Me"`},
		},
		"only what is not given": {
			[]string{"-f", file(t, "a.yaml", "image: b:2\nlevel: debug\nlimits: {cpu: 4}\n"), "--set", "replicas=5", "--set", "env.A=x"},
			answers("", "", "", "", "", "", "", ""),
			"    env:\n      A: x\n    image: b:2\n    level: debug\n    limits:\n      cpu: 4\n    replicas: 5\n", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.in = c.in
			w.wantCode(w.run(t.Context(), append([]string{"release", "create", "--template", dir, "--name", "cart", "-n", "shop", "--interactive"}, c.args...)...), ExitOK)
			wantText(t, "out", w.out.String(), releaseHead+c.values)
			wantPart(t, "err", w.err.String(), c.said...)
		})
	}
}

func TestReleaseCreateDoesNotAskWhereNobodyAnswers(t *testing.T) {
	dir := questionsDir(t)
	answered := file(t, "a.yaml", "image: a:1\nreplicas: 3\n")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"all that must be set":          {[]string{"-f", answered}, ExitOK, "revision "},
		"a value on the command line":   {[]string{"--set", "image=a:1"}, ExitOK, "revision "},
		"nothing":                       {nil, ExitError, "values.image: wanted an image with a tag, such as shop/cart:1.2, found nothing; set image\n"},
		"a mistake in the answers":      {[]string{"-f", file(t, "b.yaml", "image: a:1\nreplicas: many\n")}, ExitError, `values.replicas: wanted an integer from 1 to 10, found "many" (`},
		"a mistake on the command line": {[]string{"-f", answered, "--set", "replicas=0"}, ExitError, "values.replicas: wanted an integer from 1 to 10, found 0"},
		"an assignment without a value": {[]string{"--set", "image"}, ExitError, "Error: --set image: wanted PATH=VALUE"},
		"a path through a value":        {[]string{"-f", answered, "--set", "image.tag=1"}, ExitError, "wanted an object at image, found a value"},
		"answers that are no YAML":      {[]string{"-f", file(t, "c.yaml", "image: [")}, ExitError, "values: wanted YAML, found something else than a value"},
		"answers that are a list":       {[]string{"-f", file(t, "d.yaml", "[1]")}, ExitError, "wanted a mapping of names to values"},
		"no such answers":               {[]string{"-f", "nowhere"}, ExitError, "Error: reading nowhere: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), append([]string{"release", "create", "--template", dir, "--name", "cart", "-n", "shop"}, c.args...)...), c.code)
			wantPart(t, "err", w.err.String(), c.want)
			if c.code != ExitOK {
				wantText(t, "out", w.out.String(), "")
			}
		})
	}
}

func TestReleaseCreateFromTheCluster(t *testing.T) {
	files := templateFiles(t)
	old := map[string]string{"web.cue": strings.Replace(files["web.cue"], "with a tag", "of before", 1)}
	objects := []client.Object{
		&v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}},
		&v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-2"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 2, Files: files}},
		&v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1, Files: old}},
	}
	w := newWorld(t, interceptor.Funcs{}, objects...)
	path := filepath.Join(t.TempDir(), "cart.yaml")
	w.wantCode(w.run(t.Context(), "release", "create", "web", "--name", "cart", "--set", "image=a:1", "-o", path), ExitOK)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "file", string(data), "apiVersion: tidegate.io/v1alpha1\nkind: Release\nmetadata:\n  name: cart\n  namespace: default\nspec:\n  template:\n    name: web\n  values:\n    image: a:1\n")
	wantPart(t, "err", w.err.String(), "Wrote "+path+". Next: kubectl apply -f ")
	w.wantCode(w.run(t.Context(), "release", "create", "web", "--name", "cart"), ExitError)
	wantPart(t, "err", w.err.String(), "values.image: wanted an image with a tag, such as")
	w.wantCode(w.run(t.Context(), "release", "create", "wbe", "--name", "cart"), ExitError)
	wantPart(t, "err", w.err.String(), "wbe")
}

func TestReleaseCreateThatCannotRun(t *testing.T) {
	dir := questionsDir(t)
	for name, c := range map[string]struct {
		in   string
		args []string
		want string
	}{
		"no template":                {"", []string{"--name", "cart"}, "wanted the name of a template or --template, found 0 names"},
		"two templates":              {"", []string{"web", "--template", dir}, "wanted the name of a template or --template, found 1 names"},
		"no name":                    {"", []string{"--template", dir}, "wanted the name of the Release in --name, found none"},
		"a template that is not":     {"", []string{"--template", "nowhere", "--name", "cart"}, "no such file"},
		"a release for a template":   {"", []string{"--template", file(t, "r.yaml", releaseText), "--name", "cart"}, "wanted a template, found a Release"},
		"answers that end too soon":  {"a:1\n", []string{"--template", dir, "--name", "cart", "--interactive"}, "the input ended before all questions were answered"},
		"no answer at all":           {"", []string{"--template", dir, "--interactive"}, "the input ended before all questions were answered"},
		"a name that cannot be":      {"", []string{"--template", dir, "--name", "Cart", "--set", "image=a:1"}, `wanted a name of the Release of at most 40 lower case letters, digits and dashes that begins with a letter, found "Cart"`},
		"a namespace that cannot be": {"", []string{"--template", dir, "--name", "cart", "-n", "a_b", "--set", "image=a:1"}, `wanted a namespace of at most 63 lower case letters, digits and dashes, found "a_b"`},
		"wrong answers without end":  {strings.Repeat("y\n", 1000), []string{"--template", dir, "--name", "cart", "--interactive"}, "wanted a right answer, found 100 wrong ones"},
		"wrong names without end":    {strings.Repeat("Y\n", 1000), []string{"--template", dir, "--interactive"}, "wanted the name of the Release, found 10 wrong ones"},
		"an answer without end":      {strings.Repeat("y", 100_000), []string{"--template", dir, "--name", "cart", "--interactive"}, "reading the answer: wanted at most 65536 bytes, found more"},
		"entries without end":        {"a:1\n\n\n\n" + strings.Repeat("A\n", 20_000), []string{"--template", dir, "--name", "cart", "--interactive"}, "wanted at most 10000 answers, found more"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.in = c.in
			w.wantCode(w.run(t.Context(), append([]string{"release", "create"}, c.args...)...), ExitError)
			wantPart(t, "err", w.err.String(), c.want)
			wantText(t, "out", w.out.String(), "")
		})
	}
}

func TestReleaseCreateAsksForAnotherNameAtOnce(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.in = answers("Cart", "cart", "a:1", "", "", "", "", "", "", "", "", "", "")
	w.wantCode(w.run(t.Context(), "release", "create", "--template", questionsDir(t), "-n", "shop", "--interactive"), ExitOK)
	wantText(t, "out", w.out.String(), releaseHead+"    image: a:1\n")
	wantPart(t, "err", w.err.String(), `that begins with a letter, found "Cart"; choose another`)
}

// Nothing ends the reading of a terminal but an answer, so an interrupt must not wait for it.
func TestADialogueEndsWhenItIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	asked, never := make(chan struct{}), make(chan string)
	t.Cleanup(func() { close(never) })
	ended := make(chan error, 1)
	go func() {
		_, err := interruptible(ctx, nil, func() (string, error) {
			close(asked)
			return <-never, nil
		})
		ended <- err
	}()
	<-asked
	interrupt()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "interrupted; nothing was written") {
		t.Errorf("wanted an interruption, found %v", err)
	}
}
