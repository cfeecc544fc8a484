package notify

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/notify/send"
)

const (
	// maxQueue is how many events wait for a sink.
	maxQueue = 256
	// burst is how many events may go out at once after a rest.
	burst = 10
	// firstBackoff is the wait before the first retry; each is twice as long as the one
	// before, up to maxBackoff.
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
)

// settings are what a reload replaces of a sink.
type settings struct {
	config  rules.Sink
	sender  send.Sender
	secrets send.Secrets
	limiter *rate.Limiter
}

func newSettings(config rules.Sink, sender send.Sender, secrets send.Secrets) *settings {
	perSecond := rate.Limit(float64(config.PerMinute) / time.Minute.Seconds())
	return &settings{config: config, sender: sender, secrets: secrets, limiter: rate.NewLimiter(perSecond, burst)}
}

// sink is a bounded queue and the one worker that empties it, in order.
type sink struct {
	name     string
	settings atomic.Pointer[settings]
	clock    clock.Clock
	metrics  *Metrics
	log      logr.Logger
	// retire ends the worker; nil before it began.
	retire context.CancelFunc
	// failing is true after an event that could not be delivered. Only the worker looks.
	failing bool

	mu    sync.Mutex
	queue []*news.Event
	// more has one element when there may be events.
	more chan struct{}
}

func newSink(name string, made *settings, o Options) *sink {
	s := &sink{name: name, clock: o.Clock, metrics: o.Metrics, log: o.Log.WithValues("sink", name), more: make(chan struct{}, 1)}
	s.settings.Store(made)
	o.Metrics.begin(name)
	return s
}

// end lets the worker deliver what waits and stop.
func (s *sink) end() {
	if s.retire != nil {
		s.retire()
		return
	}
	s.metrics.forget(s.name)
}

// take puts an event at the end of the queue; where that is full the oldest goes.
func (s *sink) take(e *news.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == maxQueue {
		s.queue = s.queue[1:]
		s.metrics.delivery(s.name, outcomeDropped)
	}
	s.queue = append(s.queue, e)
	s.metrics.waiting(s.name, len(s.queue))
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// next takes the oldest event off the queue, nil where there is none.
func (s *sink) next() *news.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	e := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.metrics.waiting(s.name, len(s.queue))
	return e
}

// run delivers until ctx ends, and what is left then once more each, until late ends.
func (s *sink) run(ctx, late context.Context) {
	for {
		select {
		case <-ctx.Done():
		case <-s.more:
		}
		for e := s.next(); e != nil; e = s.next() {
			s.deliver(ctx, late, e)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// deliver makes attempts until one succeeds or there is no sense in another. Attempts are
// under late; waits end with ctx too.
func (s *sink) deliver(ctx, late context.Context, e *news.Event) {
	use := s.settings.Load()
	now := s.clock.Now()
	s.wait(ctx, use.limiter.ReserveN(now, 1).DelayFrom(now))
	backoff := firstBackoff
	for attempt := 0; ; attempt++ {
		failure := s.attempt(late, use, e)
		if failure == nil {
			s.delivered()
			return
		}
		if failure.Final || attempt >= *use.config.Retries || ctx.Err() != nil {
			s.failed(e, failure)
			return
		}
		s.wait(ctx, max(backoff, failure.After))
		backoff = min(2*backoff, maxBackoff)
		// What was wrong may have been mended meanwhile.
		use = s.settings.Load()
	}
}

// attempt makes one attempt. What is not an error of a sender is told without its words.
func (s *sink) attempt(late context.Context, use *settings, e *news.Event) *send.Error {
	ctx, cancel := context.WithTimeout(late, use.config.Timeout.Duration)
	defer cancel()
	err := use.sender.Send(ctx, e, use.secrets)
	if err == nil {
		return nil
	}
	var failure *send.Error
	if !errors.As(err, &failure) {
		failure = &send.Error{What: "the sink cannot be used"}
	}
	return failure
}

func (s *sink) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-s.clock.After(d):
	}
}

func (s *sink) delivered() {
	s.metrics.delivery(s.name, outcomeDelivered)
	if s.failing {
		s.failing = false
		s.log.Info("The sink takes notifications again")
	}
}

// failed logs the first failure of a row aloud.
func (s *sink) failed(e *news.Event, failure *send.Error) {
	s.metrics.delivery(s.name, outcomeFailed)
	log := s.log
	if s.failing {
		log = log.V(1)
	}
	s.failing = true
	log.Info("A notification could not be delivered", "why", failure.What, "kind", string(e.Kind), "namespace", e.Namespace, "rollout", e.Rollout)
}
