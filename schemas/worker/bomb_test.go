package worker

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	testingclock "k8s.io/utils/clock/testing"

	"tidegate.io/tidegate/schemas/render"
)

// unions is CUE that conjoins so many structs of two forms: each doubles the work.
func unions(n int) string {
	arms := make([]string, n)
	for i := range arms {
		arms[i] = fmt.Sprintf("({a%d: 1} | {b%d: 1})", i, i)
	}
	return "_bomb: " + strings.Join(arms, " & ")
}

// doubled is CUE that doubles a text so many times.
func doubled(n int) string {
	var b strings.Builder
	b.WriteString("_s0: \"0123456789abcdef\"\n")
	for i := range n {
		fmt.Fprintf(&b, "_s%d: _s%d + _s%d\n", i+1, i, i)
	}
	return b.String()
}

// nested is CUE that checks values of such a depth against a recursive definition.
func nested(depth int) string {
	return "#Deep: {d: int | *1, next?: #Deep}\n_bomb: #Deep & " + strings.Repeat("{next: ", depth) + "{}" + strings.Repeat("}", depth)
}

// inImports is a source with imports, which stand before everything else.
func inImports(t testing.TB, name, more string) Source {
	t.Helper()
	s := plain(t, more)
	s.Files["t.cue"] = strings.Replace(s.Files["t.cue"], "package plain", "package plain\nimport \""+name+"\"", 1)
	s.Digest = render.Digest(s.Files)
	return s
}

// pairs is a template that looks at each pair of the values of a list.
func pairs(t testing.TB) Source {
	t.Helper()
	s := plain(t, "_pairs: [for a in values.list for b in values.list {sum: a + b}]\n_bomb: len(_pairs)")
	s.Files["t.cue"] = strings.Replace(s.Files["t.cue"], "env: [string]: string", "env: [string]: string\n\tlist: [...int]", 1)
	s.Digest = render.Digest(s.Files)
	return s
}

// endless is a template that takes more than a minute and little memory for long.
func endless(t testing.TB) Source {
	t.Helper()
	return plain(t, unions(18))
}

func numbers(n int) string {
	text := make([]string, n)
	for i := range text {
		text[i] = fmt.Sprint(i)
	}
	return `{"image": "a", "list": [` + strings.Join(text, ",") + `]}`
}

func names(n int) string {
	text := make([]string, n)
	for i := range text {
		text[i] = fmt.Sprintf(`"k%d": "v"`, i)
	}
	return `{"image": "a", "env": {` + strings.Join(text, ",") + `}}`
}

const fair = `{"image": "a"}`

// bombs are what was measured to take seconds, minutes or gigabytes.
func bombs(t testing.TB) map[string]struct {
	source Source
	values string
	// refused says that the bounds of values, or of source, keep it from the engine.
	refused bool
} {
	t.Helper()
	type bomb = struct {
		source  Source
		values  string
		refused bool
	}
	return map[string]bomb{
		"a template with 13 unions":                            {plain(t, unions(13)), fair, false},
		"a template with 14 unions":                            {plain(t, unions(14)), fair, false},
		"a template that doubles a text 26 times":              {plain(t, doubled(26)), fair, false},
		"a template that doubles a text 30 times":              {plain(t, doubled(30)), fair, false},
		"a template with a list of 100,000":                    {inImports(t, "list", "_bomb: [for i in list.Range(0, 100000, 1) {i}]"), fair, false},
		"a template with a list of 1,000,000":                  {inImports(t, "list", "_bomb: [for i in list.Range(0, 1000000, 1) {i}]"), fair, false},
		"a template that compares 20,000 texts":                {inImports(t, "list", `_bomb: list.UniqueItems([for i in list.Range(0, 20000, 1) {"item \(i)"}])`), fair, false},
		"a template with values nested 3,000 deep":             {plain(t, nested(3000)), fair, true},
		"values: a list of 500 that a template takes in pairs": {pairs(t), numbers(500), false},
		"values: a list of 1,000":                              {pairs(t), numbers(1000), true},
		"values: a map of 10,000":                              {plain(t, ""), names(10000), true},
		"values: nested 1,000 deep":                            {plain(t, ""), `{"image": "a", "env": ` + strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000) + `}`, true},
	}
}

// short is how long the clock runs for a bomb. It stands still for everybody else, so that
// what is good is never late, whatever else the machine does.
const short = 700 * time.Millisecond

// run lets the clock run until work is done.
func run(watch *testingclock.FakeClock, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(lookEvery):
			watch.Step(lookEvery)
		}
	}
}

func TestABombIsAnErrorOfItsOwnerAlone(t *testing.T) {
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	p := newPool(t, Options{Workers: 2, Timeout: short, Clock: watch})
	good := plain(t, "")
	before := heap()
	for name, b := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			err := run(watch, func() error {
				_, err := p.Render(t.Context(), b.source, []byte(b.values), release("bomb"))
				return err
			})
			var bomb *BombError
			switch {
			case b.refused:
				if !isA[*render.ValuesError](err) && !isA[*render.SourceError](err) && !raceDetector { // which is slow
					t.Fatalf("wanted the values or the source to be refused, found %v", err)
				}
			case !errors.As(err, &bomb):
				t.Fatalf("wanted a *BombError, found %v", err)
			case bomb.Owner != "Release shop/bomb" || bomb.Reason() != ReasonRenderBudget:
				t.Errorf("wanted the owner and the code, found %q and %s", bomb.Owner, bomb.Reason())
			case !slices.Contains([]Cause{CauseDeadline, CauseMemory}, bomb.Cause):
				t.Errorf("wanted too much time or memory, found %s", err)
			}
			mustRender(t, p, good, fair, release("good"))
		})
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("wanted the memory of this process to stay as it was, found %d bytes more", grown)
	}
}

// heap is what this process holds after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTheMemoryOfAWorkerIsBounded(t *testing.T) {
	// There is no deadline to speak of: it is memory that ends it.
	p := newPool(t, Options{Workers: 1, Memory: 256 << 20})
	_, err := p.Render(t.Context(), plain(t, doubled(30)), []byte(fair), release("bomb"))
	var bomb *BombError
	if !errors.As(err, &bomb) || bomb.Cause != CauseMemory || bomb.Limit != "256 MiB" {
		t.Fatalf("wanted too much memory, found %v", err)
	}
}

func TestABombInATemplateIsFoundByItsCheck(t *testing.T) {
	p := newPool(t, Options{Workers: 1, CheckTimeout: short})
	_, err := p.Check(t.Context(), endless(t).Files)
	var bomb *BombError
	if !errors.As(err, &bomb) || bomb.Cause != CauseDeadline || bomb.Limit != short.String() {
		t.Fatalf("wanted too much time, found %v", err)
	}
	if _, err := p.Compare(t.Context(), plain(t, "").Files, endless(t).Files); !errors.As(err, &bomb) {
		t.Errorf("wanted too much time to compare, found %v", err)
	}
}

func TestOthersAreServedWhileABombIsHeld(t *testing.T) {
	// The deadline passes when the test says so: the bomb holds its worker for as long.
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	p := newPool(t, Options{Workers: 2, Clock: watch})
	held := make(chan error, 1)
	go func() {
		_, err := p.Render(t.Context(), endless(t), []byte(fair), release("bomb"))
		held <- err
	}()
	until(t, func() bool { return p.queue.runs("Release shop/bomb") })
	for i := range 20 {
		mustRender(t, p, plain(t, ""), fair, release(fmt.Sprintf("good%d", i)))
	}
	select {
	case err := <-held:
		t.Fatalf("wanted the bomb to be held still, found %v", err)
	default:
	}
	// Its owner has one worker at a time: a second request of it waits.
	again := make(chan error, 1)
	go func() {
		_, err := p.Render(t.Context(), plain(t, ""), []byte(fair), release("bomb"))
		again <- err
	}()
	until(t, func() bool { return p.queue.len() == 1 })
	until(t, watch.HasWaiters)
	watch.Step(patient)
	if err := <-held; !isA[*BombError](err) {
		t.Errorf("wanted a *BombError, found %v", err)
	}
	if err := <-again; err != nil {
		t.Errorf("wanted the owner's other request to be served then, found %v", err)
	}
}

func TestABombIsRememberedForAWhile(t *testing.T) {
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	p := newPool(t, Options{Workers: 2, Clock: watch, Timeout: short})
	explode := func(c render.Context, values string) error {
		done := make(chan error, 1)
		go func() {
			_, err := p.Render(t.Context(), endless(t), []byte(values), c)
			done <- err
		}()
		for {
			select {
			case err := <-done:
				return err
			case <-time.After(time.Millisecond):
				if p.queue.runs(ofRelease(c).name) && watch.HasWaiters() {
					watch.Step(short)
				}
			}
		}
	}
	first := explode(release("a"), fair)
	deaths := func() int { return count(t, p, CauseDeadline) }
	if !isA[*BombError](first) || deaths() != 1 {
		t.Fatalf("wanted a worker to be lost, found %v", first)
	}
	if again := explode(release("a"), fair); again.Error() != first.Error() || deaths() != 1 {
		t.Errorf("wanted the answer from memory, found %v and %d workers lost", again, deaths())
	}
	if changed := explode(release("a"), `{"image": "b"}`); !isA[*BombError](changed) || deaths() != 2 {
		t.Errorf("wanted other values to be tried, found %v and %d workers lost", changed, deaths())
	}
	if other := explode(release("b"), fair); !isA[*BombError](other) || deaths() != 3 {
		t.Errorf("wanted another Release to be tried, found %v and %d workers lost", other, deaths())
	}
	watch.Step(maxBackOff)
	if later := explode(release("a"), fair); !isA[*BombError](later) || deaths() != 4 {
		t.Errorf("wanted another try after a while, found %v and %d workers lost", later, deaths())
	}
}

func TestTheMessageOfABomb(t *testing.T) {
	for want, err := range map[string]*BombError{
		"Release shop/a: wanted it to be rendered within 2s, found that more time was needed; do: look for":                {Owner: "Release shop/a", Cause: CauseDeadline, Limit: "2s"},
		"Release shop/a: wanted it to be rendered within 512 MiB of memory, found that more was needed; do: look for long": {Owner: "Release shop/a", Cause: CauseMemory, Limit: "512 MiB"},
		"Release shop/a: wanted it to be rendered, found that the engine crashed; do: look for long lists, nested loops":   {Owner: "Release shop/a", Cause: CauseCrash},
	} {
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("wanted %q, found %q", want, err)
		}
	}
}

func TestAWorkerIsGivenNothingOfTheManagers(t *testing.T) {
	t.Setenv("TIDEGATE_SECRET", "x")
	p := newPool(t, Options{Workers: 1, Command: self(t, asEnviron)})
	_, err := p.Render(t.Context(), plain(t, ""), []byte(fair), release("a"))
	if err == nil || !strings.Contains(err.Error(), "GOMAXPROCS=") || strings.Contains(err.Error(), "TIDEGATE_SECRET") {
		t.Errorf("wanted an environment of the worker's own, found %v", err)
	}
}

func count(t *testing.T, p *Pool, cause Cause) int {
	t.Helper()
	return int(testutil.ToFloat64(p.options.Metrics.kills.WithLabelValues(string(cause))))
}
