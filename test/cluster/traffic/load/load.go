// Package load sends HTTP requests at a constant rate and records what became of each.
//
// The load is open: a request is due at its time whether or not earlier ones were answered, as
// users behave, and latency counts from the due time. So a server that stalls is seen to stall.
//
// The record keeps three things apart that a status code alone mixes up: an answer of the
// application, an answer of the application that is an error of its own (a bad version's 500), and
// a lost request, to which no application answered at all.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Headers of an answer that are read.
const (
	// RevisionHeader names the revision that answered.
	RevisionHeader = "X-Revision"
	// PodHeader names the pod that answered.
	PodHeader = "X-Pod"
	// GatewayErrorHeader is on answers that a gateway gave in its own name, with the reason.
	GatewayErrorHeader = "X-Gateway-Error"
)

// Defaults of Options.
const (
	defaultWorkers     = 128
	defaultTimeout     = 15 * time.Second
	defaultMaxRequests = 1_000_000
)

// Options configure Run.
type Options struct {
	// URL is where requests go, with the path. Required.
	URL string
	// Host is the Host header, by which a gateway finds the route. Empty means that of URL.
	Host string
	// RPS is the rate in requests per second. Required.
	RPS float64
	// Workers bounds the requests in flight; 0 means 128. A request that is due while all are
	// busy is not sent and counted as skipped, never silently left out.
	Workers int
	// Timeout bounds one request; 0 means 15 s. A request over it is lost.
	Timeout time.Duration
	// MaxRequests ends the run after so many requests; 0 means 1 000 000, which also bounds memory.
	MaxRequests int
	// Transport sends the requests; nil means one of its own, with keep-alive.
	Transport http.RoundTripper
	// Clock times the requests; nil means real time.
	Clock clock.WithTicker
}

// Run starts the load and returns at once. It ends with ctx or after MaxRequests; requests that
// are in flight then are still waited for and recorded. The Recorder may be read at any time.
func Run(ctx context.Context, o Options) (*Recorder, error) {
	g, err := newGenerator(o)
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(g.recorder.done)
		g.run(ctx)
	}()
	return g.recorder, nil
}

type generator struct {
	Options
	client   *http.Client
	target   *url.URL
	interval time.Duration
	slots    chan struct{}
	recorder *Recorder
}

func newGenerator(o Options) (*generator, error) {
	target, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the URL to load: %w", err)
	}
	if target.Host == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return nil, fmt.Errorf("reading the URL to load: wanted http://host:port/path, found %q", o.URL)
	}
	if o.RPS <= 0 || o.RPS > 1e6 {
		return nil, fmt.Errorf("reading the rate: wanted more than 0 and at most 1000000 requests per second, found %g", o.RPS)
	}
	if o.Workers < 0 || o.Timeout < 0 || o.MaxRequests < 0 {
		return nil, fmt.Errorf("reading the limits: wanted 0 or more, found %d workers, timeout %s, %d requests", o.Workers, o.Timeout, o.MaxRequests)
	}
	setDefault(&o.Workers, defaultWorkers)
	setDefault(&o.Timeout, defaultTimeout)
	setDefault(&o.MaxRequests, defaultMaxRequests)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: o.Workers,
			IdleConnTimeout:     30 * time.Second,
		}
	}
	return &generator{
		Options: o,
		client: &http.Client{
			Transport:     o.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		target:   target,
		interval: time.Duration(float64(time.Second) / o.RPS),
		slots:    make(chan struct{}, o.Workers),
		recorder: newRecorder(o.Clock),
	}, nil
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// run sends request i at start + i*interval. Being late, it sends what is due at once.
func (g *generator) run(ctx context.Context) {
	var flight sync.WaitGroup
	start := g.Clock.Now()
	for i := range g.MaxRequests {
		due := start.Add(time.Duration(i) * g.interval)
		if !g.wait(ctx, due) {
			break
		}
		select {
		case g.slots <- struct{}{}:
		default:
			g.recorder.skipped.Add(1)
			continue
		}
		g.recorder.inFlight.Add(1)
		flight.Go(func() {
			defer func() { <-g.slots }()
			g.recorder.add(g.send(context.WithoutCancel(ctx), due))
		})
	}
	flight.Wait()
	g.client.CloseIdleConnections()
}

// wait returns at the due time, or false when the load has to end.
func (g *generator) wait(ctx context.Context, due time.Time) bool {
	if d := due.Sub(g.Clock.Now()); d > 0 {
		select {
		case <-g.Clock.After(d):
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// send makes one request and judges the answer.
func (g *generator) send(ctx context.Context, due time.Time) Record {
	rec := Record{At: due}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.target.String(), http.NoBody)
	if err != nil {
		rec.Outcome, rec.Lost = Lost, "request: "+err.Error()
		return rec
	}
	req.Host = g.Host
	res, err := g.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		err = errors.Join(err, res.Body.Close())
	}
	rec.Latency = g.Clock.Since(due)
	if err != nil {
		rec.Outcome, rec.Lost = Lost, "transport: "+causeOf(err)
		return rec
	}
	rec.Code, rec.Revision, rec.Pod = res.StatusCode, res.Header.Get(RevisionHeader), res.Header.Get(PodHeader)
	rec.Outcome, rec.Lost = judge(res)
	return rec
}

// judge tells an application's answer from an answer that a gateway gave instead. An error that
// names no revision cannot be put down to any version: it counts as lost.
func judge(res *http.Response) (Outcome, string) {
	reason, ofGateway := res.Header.Get(GatewayErrorHeader), len(res.Header.Values(GatewayErrorHeader)) > 0
	switch {
	case ofGateway:
		return Lost, fmt.Sprintf("gateway %d: %s", res.StatusCode, reason)
	case res.StatusCode < http.StatusInternalServerError:
		return Answered, ""
	case res.Header.Get(RevisionHeader) == "":
		return Lost, fmt.Sprintf("status %d from no known revision", res.StatusCode)
	default:
		return AppError, ""
	}
}

// causeOf names an error without the URL and ports in it, so that equal causes count together.
func causeOf(err error) string {
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err.Error()
	}
	return err.Error()
}

// Recorder holds what became of each request. It is safe for concurrent use.
type Recorder struct {
	clock    clock.PassiveClock
	done     chan struct{}
	inFlight atomic.Int64
	skipped  atomic.Int64

	mu      sync.Mutex
	records []Record
}

func newRecorder(c clock.PassiveClock) *Recorder {
	return &Recorder{clock: c, done: make(chan struct{})}
}

func (r *Recorder) add(rec Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
	r.inFlight.Add(-1)
}

// Done is closed when the load has ended and each request is recorded.
func (r *Recorder) Done() <-chan struct{} { return r.done }

// Wait returns when the load has ended and each request is recorded, or with ctx.
func (r *Recorder) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the load to end: %w", context.Cause(ctx))
	}
}

// Now is the time on the load's clock, to mark the border of a window.
func (r *Recorder) Now() time.Time { return r.clock.Now() }
