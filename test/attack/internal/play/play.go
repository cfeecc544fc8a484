// Package play does what attempts say, and judges what came of it. An attempt has three
// parts: setup, requests, and a look at the world afterwards; each ends in bounded time.
// What cannot be carried out is an error and never a pass.
package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/world"
)

// World is what attempts are played in.
type World interface {
	// Person logs somebody in; nil is a cluster-admin.
	Person(ctx context.Context, i *attempt.Identity) (*world.Person, error)
	// ApplyAs applies an object; nil is the administrator.
	ApplyAs(ctx context.Context, as *world.Person, object map[string]any) error
	// Serve brings a Release into service.
	Serve(ctx context.Context, namespace string, r attempt.Release) (attempt.Vars, error)
	// Find returns the objects that are there.
	Find(ctx context.Context, t attempt.Target, namespace string) ([]unstructured.Unstructured, error)
	// Live is an object in JSON.
	Live(ctx context.Context, path string) ([]byte, error)
	Resource(apiVersion, kind string) (resource string, namespaced bool, err error)
	Namespaced(apiVersion, resource string) bool
	// Post sends a review to the webhook.
	Post(ctx context.Context, r *attempt.Review, body io.Reader, length int64) (status int, answer []byte, err error)
	WebhookURL() string
	Metric(ctx context.Context, name string, labels map[string]string) (float64, error)
	ManagerReady(ctx context.Context) bool
	ManagerMemory() (int64, error)
	StopManager(ctx context.Context) error
	RestingGuards(ctx context.Context) (world.Guards, error)
	Restore(ctx context.Context, was world.Guards) ([]string, error)
}

// Outcome is what came of an attempt.
type Outcome struct {
	Attempt *attempt.Attempt
	// Identity, Request and Expected are for the table.
	Identity, Request, Expected string
	// Found is what came of the requests, and what of the world is not as it should be.
	Found string
	// Problems are what is not as expected; none is a pass.
	Problems []string
	// Err is why the attempt could not be carried out.
	Err error
	// Took is setup, requests and looking together.
	Took time.Duration
}

// Pass says that all was as expected.
func (o Outcome) Pass() bool { return o.Err == nil && len(o.Problems) == 0 }

// Options configure Play.
type Options struct {
	// Parallel is how many attempts play side by side.
	Parallel int
	// Seed is for the order in which attempts are played; 0 is the order given.
	Seed uint64
	// Patience multiplies every time limit, for a machine that has much else to do; 0 is 1.
	// What is waited for is asked about again and again, so that patience costs no time.
	Patience float64
	// Done is told of each outcome, one at a time.
	Done func(Outcome)
	// Down is told when the manager is not ready though nobody stopped it. What was found
	// after that moment says little.
	Down func()
}

// Play plays all attempts and returns their outcomes in the order given: first those that
// disturb nobody, side by side; then those that play alone; then, with the manager stopped,
// those that ask for it.
func Play(ctx context.Context, w World, attempts []*attempt.Attempt, o Options) ([]Outcome, error) {
	scenes := make([]*scene, len(attempts))
	outcomes := make([]Outcome, len(attempts))
	var shared, alone, stopped []int
	for _, i := range order(len(attempts), o.Seed) {
		a := attempts[i]
		scenes[i] = newScene(w, a, o.Patience)
		switch {
		case a.Manager == attempt.Stopped:
			stopped = append(stopped, i)
		case a.Alone || a.Disturbs():
			alone = append(alone, i)
		default:
			shared = append(shared, i)
		}
	}
	var telling sync.Mutex
	tell := func(i int) {
		outcomes[i] = scenes[i].outcome()
		telling.Lock()
		defer telling.Unlock()
		if o.Done != nil {
			o.Done(outcomes[i])
		}
	}
	// Setup of what plays later is done while others play, and disturbs nobody.
	sideBySide(slices.Concat(shared, alone, stopped), o.Parallel, func(i int) {
		scenes[i].setup(ctx)
		if slices.Contains(shared, i) {
			scenes[i].act(ctx)
			tell(i)
		}
	})
	if len(alone) > 0 {
		was, err := w.RestingGuards(ctx)
		if err != nil {
			return nil, err
		}
		for _, i := range alone {
			scenes[i].actAlone(ctx, was)
			tell(i)
		}
	}
	if o.Down != nil && !w.ManagerReady(ctx) {
		o.Down()
	}
	if len(stopped) > 0 {
		if err := w.StopManager(ctx); err != nil {
			return nil, err
		}
		sideBySide(stopped, o.Parallel, func(i int) {
			scenes[i].act(ctx)
			tell(i)
		})
	}
	return outcomes, ctx.Err()
}

// order is 0 to n-1, shuffled where there is a seed.
func order(n int, seed uint64) []int {
	if seed != 0 {
		return rand.New(rand.NewPCG(seed, seed)).Perm(n) // The same seed, the same order.
	}
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func sideBySide(which []int, parallel int, do func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(parallel, 1))
	for _, i := range which {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// scene is one attempt while it is played.
type scene struct {
	world    World
	attempt  *attempt.Attempt
	patience float64
	took     time.Duration
	err      error
	// found and problems are in the order in which they came up.
	found, problems []string

	mu   sync.Mutex // guards what follows: requests may be made side by side
	vars attempt.Vars
}

func newScene(w World, a *attempt.Attempt, patience float64) *scene {
	s := &scene{world: w, attempt: a, patience: max(patience, 1), vars: attempt.Vars{
		"id": a.ID, "namespace": world.NamespaceName(a.Namespace, a.ID), "open": world.OpenName(a.ID),
		"system": world.System, "identity": world.Identity, "webhook": w.WebhookURL(),
	}}
	s.clock()
	return s
}

// clock sets the variables that are times.
func (s *scene) clock() {
	now := time.Now().UTC()
	for name, after := range map[string]time.Duration{"now": 0, "shortly": 20 * time.Second, "soon": 15 * time.Minute} {
		s.assign(name, now.Add(after).Format(time.RFC3339))
	}
}

// patient is a time limit of a file's, or of the suite's own.
func (s *scene) patient(limit time.Duration) time.Duration {
	return time.Duration(float64(limit) * s.patience)
}

func (s *scene) variables() attempt.Vars {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.vars)
}

func (s *scene) assign(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vars[name] = value
}

func (s *scene) namespace() string { return s.variables()["namespace"] }

// bounded gives a part of the attempt its time.
func (s *scene) bounded(ctx context.Context, part string, limit time.Duration, do func(context.Context) error) {
	if s.err != nil {
		return
	}
	began := time.Now()
	limit = s.patient(limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	if err := do(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(err, cause)
		}
		s.err = fmt.Errorf("%s: %w", part, err)
	}
	s.took += time.Since(began)
}

func (s *scene) setup(ctx context.Context) {
	s.bounded(ctx, "setup", s.attempt.SetupWithin(), func(ctx context.Context) error {
		s.clock()
		if s.attempt.Release != nil {
			release, err := attempt.Expanded(*s.attempt.Release, s.variables())
			if err != nil {
				return err
			}
			vars, err := s.world.Serve(ctx, s.namespace(), release)
			if err != nil {
				return err
			}
			for name, value := range vars {
				s.assign(name, value)
			}
		}
		for i, step := range s.attempt.Setup {
			if err := s.step(ctx, step); err != nil {
				return fmt.Errorf("step %d: %w", i+1, err)
			}
		}
		return nil
	})
}

func (s *scene) step(ctx context.Context, step attempt.Step) error {
	step, err := attempt.Expanded(step, s.variables())
	if err != nil {
		return err
	}
	switch {
	case len(step.Apply) > 0:
		return s.apply(ctx, step)
	case step.Request != nil:
		return s.prepare(ctx, step)
	case step.Wait != nil:
		problem, err := s.await(ctx, *step.Wait, nil)
		if err == nil && problem != "" {
			err = errors.New(problem)
		}
		return err
	default:
		return s.capture(ctx, *step.Capture)
	}
}

// prepare makes a request of setup, again and again where it says within.
func (s *scene) prepare(ctx context.Context, step attempt.Step) error {
	r := *step.Request
	if r.As == nil {
		r.As = step.As
	}
	expect := r.Expect
	if expect == nil {
		expect = &attempt.Expect{Result: attempt.Results{attempt.Allowed}}
	}
	once := func(ctx context.Context) (problem string, err error) {
		answers, err := s.request(ctx, r)
		if err != nil {
			return "", err
		}
		for _, a := range answers {
			if problems := judge(*expect, a); len(problems) > 0 {
				return fmt.Sprintf("%s: %s", summary(r), strings.Join(problems, "; ")), nil
			}
		}
		return "", nil
	}
	var problem string
	var err error
	if r.Within == 0 {
		problem, err = once(ctx)
	} else {
		err = poll(ctx, s.patient(time.Duration(r.Within)), func(ctx context.Context) (bool, error) {
			p, err := once(ctx)
			if err == nil {
				problem = p
			}
			return err == nil && p == "", err
		})
	}
	if problem != "" {
		return errors.Join(errors.New(problem), err)
	}
	return err
}

func (s *scene) apply(ctx context.Context, step attempt.Step) error {
	var as *world.Person
	if step.As != nil {
		var err error
		if as, err = s.world.Person(ctx, step.As); err != nil {
			return err
		}
	}
	for _, o := range step.Apply {
		u := unstructured.Unstructured{Object: o}
		_, namespaced, err := s.world.Resource(u.GetAPIVersion(), u.GetKind())
		if err != nil {
			return err
		}
		if namespaced && u.GetNamespace() == "" {
			metadata, ok := o["metadata"].(map[string]any)
			if !ok {
				return fmt.Errorf("apply: wanted metadata, found %v", o["metadata"])
			}
			metadata["namespace"] = s.namespace()
		}
		if err := s.world.ApplyAs(ctx, as, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) capture(ctx context.Context, c attempt.Capture) error {
	within := time.Duration(c.Within)
	if within == 0 {
		within = 10 * time.Second
	}
	last := ""
	err := poll(ctx, s.patient(within), func(ctx context.Context) (bool, error) {
		list, err := s.world.Find(ctx, c.Object, s.namespace())
		if err != nil {
			return false, err
		}
		if len(list) == 0 {
			last = "no such object"
			return false, nil
		}
		value, ok, err := lookup(list[0].Object, c.Field)
		if err != nil {
			return false, err
		}
		last = c.Field + " is not set"
		if ok {
			s.assign(c.Var, text(value))
		}
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("capturing %s: %s: %w", c.Var, last, err)
	}
	return nil
}

// act makes the requests and looks at the world afterwards.
func (s *scene) act(ctx context.Context) {
	var before snapshots
	s.bounded(ctx, "looking before", s.attempt.Within(), func(ctx context.Context) (err error) {
		before, err = s.look(ctx)
		return err
	})
	s.bounded(ctx, "requests", s.attempt.Within(), func(ctx context.Context) error {
		stop, err := s.load(ctx)
		if err != nil {
			return err
		}
		defer stop()
		return s.requests(ctx)
	})
	s.bounded(ctx, "afterwards", s.attempt.Within(), func(ctx context.Context) error { return s.afterwards(ctx, before) })
}

// guarding is how long it may take to look at the guards and to put them right.
const guarding = 60 * time.Second

// actAlone is act, and Tidegate's own guards may not be other than they were. What is new
// and not Tidegate's is cleared away without a word.
func (s *scene) actAlone(ctx context.Context, was world.Guards) {
	s.act(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.patient(guarding))
	defer cancel()
	differences, err := s.world.Restore(ctx, was)
	if err != nil && s.err == nil {
		s.err = err
	}
	if s.attempt.Kind == attempt.Hostile {
		for _, d := range differences {
			if weakens(d) {
				s.problem("%s", "Tidegate's guards: "+d)
			}
		}
	}
}

// weakens says whether a difference takes something from Tidegate's guards. What is new adds
// to them, or is somebody else's, unless it gives Tidegate's rights or is its identity.
func weakens(difference string) bool {
	if !strings.HasSuffix(difference, " is new") {
		return true
	}
	kind, name, _ := strings.Cut(difference, " ")
	return strings.Contains(name, "tidegate") && slices.Contains([]string{"clusterroles", "clusterrolebindings", "roles", "rolebindings", "secrets", "serviceaccounts"}, kind)
}

func (s *scene) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *scene) outcome() Outcome {
	o := Outcome{
		Attempt: s.attempt, Identity: s.who(), Request: s.what(), Expected: s.expected(),
		Found: strings.Join(compact(s.found), "; "), Problems: s.problems, Err: s.err, Took: s.took,
	}
	return o
}

// compact counts what is said again and again.
func compact(lines []string) []string {
	var out []string
	for i := 0; i < len(lines); {
		n := 1
		for i+n < len(lines) && lines[i+n] == lines[i] {
			n++
		}
		line := lines[i]
		if n > 1 {
			line = fmt.Sprintf("%s (%d times)", line, n)
		}
		out = append(out, line)
		i += n
	}
	return out
}

// poll asks again five times a second until it holds. An answer within the time counts, an
// error ends it.
func poll(ctx context.Context, within time.Duration, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := holds(ctx)
		if ok || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s: %w", within, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
