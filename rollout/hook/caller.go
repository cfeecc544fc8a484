package hook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxCalls is how many calls are under way at the same time.
	maxCalls = 128
	// maxCallsOfServer is how many of them go to one server. A URL often has the Release in it.
	maxCallsOfServer = 8
	// maxRetryAfter bounds what a server may ask to wait for before it is tried again.
	maxRetryAfter = 5 * time.Minute
)

// Options are what a Caller needs.
type Options struct {
	// Secrets reads the Secrets that hooks name, for every call anew, so that a key that was
	// replaced counts from then on. Required.
	Secrets client.Reader
	// Namespace is that of the Secrets: the manager's. Required.
	Namespace string
	// Clock tells the time. Required.
	Clock clock.Clock
	// Metrics are those of the Caller. Required.
	Metrics *Metrics
	// AllowPlain lets hooks be called over http.
	AllowPlain bool
	// Addresses says which addresses are called.
	Addresses Addresses
	Log       logr.Logger
}

// Validate reports what is missing.
func (o Options) Validate() error {
	if o.Secrets == nil || o.Namespace == "" || o.Clock == nil || o.Metrics == nil {
		return errors.New("set Secrets, Namespace, Clock and Metrics of the hooks")
	}
	return nil
}

// Caller calls hooks. It is safe for concurrent use.
type Caller struct {
	opts Options

	// mu guards what follows. Nothing is waited for while holding it.
	mu sync.Mutex
	// answered is told of each Rollout that has a new answer.
	answered func(client.ObjectKey)
	// begin begins a call in the background; nil before Start and after its end.
	begin func(*call)
	open  map[client.ObjectKey]*callsOf
	// waiting are the calls that are not under way, in the order in which they came.
	waiting []*call
	// busy counts those that are, ofServer by their server.
	busy     int
	ofServer map[string]int
}

// callsOf are the calls of one Rollout.
type callsOf struct {
	uid   types.UID
	calls map[plan.Call]*call
}

// call is one try of one hook.
type call struct {
	rollout client.ObjectKey
	request request
	// answer is what the planner is told.
	answer plan.Answer
	// stop ends it; nil while it waits for its turn.
	stop context.CancelFunc
}

// New returns a Caller that calls nobody before Start.
func New(o Options) (*Caller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Caller{
		opts: o, answered: func(client.ObjectKey) {},
		open: map[client.ObjectKey]*callsOf{}, ofServer: map[string]int{},
	}, nil
}

// OnAnswer sets who is told of each Rollout that has a new answer. It must return at once.
func (c *Caller) OnAnswer(tell func(client.ObjectKey)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = tell
}

// Call begins a call of a hook of a Rollout, unless that very call is known already.
func (c *Caller) Call(rollout *v1alpha1.Rollout, which plan.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.callsOf(rollout)
	if of.calls[which] != nil {
		return
	}
	made := &call{rollout: client.ObjectKeyFromObject(rollout), answer: plan.Answer{Call: which}}
	of.calls[which] = made
	var problem *outcome
	if made.request, problem = newRequest(rollout, which); problem != nil {
		made.answer = problem.answer(which)
		return
	}
	c.waiting = append(c.waiting, made)
	c.dispatch()
}

// Answers are what is known of the calls of a Rollout.
func (c *Caller) Answers(rollout *v1alpha1.Rollout) []plan.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.open[client.ObjectKeyFromObject(rollout)]
	if of == nil || of.uid != rollout.UID {
		return nil
	}
	out := make([]plan.Answer, 0, len(of.calls))
	for _, made := range of.calls {
		out = append(out, made.answer)
	}
	return out
}

// Settle forgets, and ends, the calls that the status of a Rollout does not wait for any more.
func (c *Caller) Settle(rollout *v1alpha1.Rollout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := client.ObjectKeyFromObject(rollout)
	of := c.open[key]
	if of == nil || of.uid != rollout.UID {
		return
	}
	wanted := Awaited(rollout)
	for which, made := range of.calls {
		if !slices.Contains(wanted, which) {
			c.drop(made)
			delete(of.calls, which)
		}
	}
	if len(of.calls) == 0 {
		delete(c.open, key)
	}
	c.dispatch()
}

// Forget forgets, and ends, all calls of a Rollout that is no more.
func (c *Caller) Forget(key client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(key)
	c.dispatch()
}

// Awaited are the calls that a Rollout waits for. One that turns back, or has ended, only
// tells of that.
func Awaited(rollout *v1alpha1.Rollout) []plan.Call {
	status := &rollout.Status
	over := status.Phase == v1alpha1.RolloutAborting || status.Phase.Terminal()
	var out []plan.Call
	for i := range status.Checks {
		check := &status.Checks[i]
		if check.Hook == "" || check.Outcome != v1alpha1.CheckPending || over && check.Event != v1alpha1.HookRollback {
			continue
		}
		out = append(out, plan.Call{Hook: check.Hook, Event: check.Event, Step: check.Step, Falls: status.Falls, Try: check.Tries})
	}
	return out
}

// Start implements manager.Runnable: calls are made until ctx ends, and those that are under
// way then are ended with it.
func (c *Caller) Start(ctx context.Context) error {
	var under sync.WaitGroup
	c.mu.Lock()
	c.begin = func(made *call) {
		own, stop := context.WithCancel(ctx)
		made.stop = stop
		under.Go(func() {
			defer stop()
			c.make(own, made)
		})
	}
	c.dispatch()
	c.mu.Unlock()

	<-ctx.Done()
	c.mu.Lock()
	c.begin = nil
	c.mu.Unlock()
	under.Wait()
	return nil
}

// callsOf returns the calls of a Rollout; those of a former one of its name are ended.
func (c *Caller) callsOf(rollout *v1alpha1.Rollout) *callsOf {
	key := client.ObjectKeyFromObject(rollout)
	if of := c.open[key]; of != nil && of.uid == rollout.UID {
		return of
	}
	c.forget(key)
	of := &callsOf{uid: rollout.UID, calls: map[plan.Call]*call{}}
	c.open[key] = of
	return of
}

func (c *Caller) forget(key client.ObjectKey) {
	of := c.open[key]
	if of == nil {
		return
	}
	for _, made := range of.calls {
		c.drop(made)
	}
	delete(c.open, key)
}

// drop ends a call that nobody waits for any more.
func (c *Caller) drop(made *call) {
	if made.stop != nil {
		made.stop()
		return
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(other *call) bool { return other == made })
}

// dispatch begins the calls whose turn it is.
func (c *Caller) dispatch() {
	if c.begin != nil {
		c.waiting = slices.DeleteFunc(c.waiting, func(made *call) bool {
			if c.busy >= maxCalls || c.ofServer[made.request.server] >= maxCallsOfServer {
				return false
			}
			c.busy++
			c.ofServer[made.request.server]++
			c.begin(made)
			return true
		})
	}
	c.opts.Metrics.count(c.busy, len(c.waiting))
}

// make makes a call. What a server asks to be left alone for is part of it: whoever waits is
// told afterwards, and tries again.
func (c *Caller) make(ctx context.Context, made *call) {
	began := c.opts.Clock.Now()
	result := c.try(ctx, &made.request)
	c.leave(made)
	if ctx.Err() != nil {
		return // dropped, or the manager stops; nobody listens
	}
	c.opts.Metrics.answered(result, c.opts.Clock.Since(began))
	which := made.answer.Call
	c.opts.Log.V(1).Info("Called a hook", "namespace", made.rollout.Namespace, "rollout", made.rollout.Name,
		"hook", which.Hook, "event", which.Event, "step", which.Step, "try", which.Try, "passed", result.passed, "message", result.message)
	if result.after > 0 {
		select {
		case <-ctx.Done():
			return
		case <-c.opts.Clock.After(result.after):
		}
	}
	c.take(made, result)(made.rollout)
}

// leave gives the place of a call to the next one.
func (c *Caller) leave(made *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	if c.ofServer[made.request.server]--; c.ofServer[made.request.server] == 0 {
		delete(c.ofServer, made.request.server)
	}
	c.dispatch()
}

// take records an answer and returns who is told of it.
func (c *Caller) take(made *call, result outcome) func(client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	made.answer = result.answer(made.answer.Call)
	return c.answered
}
