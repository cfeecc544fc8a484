package send

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/outbound"
)

// maxHanging is how many attempts of a sink may still hang when another is made. Services
// without HTTP, such as mail, end by themselves, but not at a word of ours.
const maxHanging = 4

// service sends through the library, by a URL that says which service and with which
// credentials.
type service struct {
	key     string
	cluster string
	timeout time.Duration
	client  *http.Client
	clock   clock.PassiveClock
	// hanging has a place for each attempt under way.
	hanging chan struct{}
}

func newService(sink *rules.Sink, cluster string, now clock.PassiveClock) *service {
	// The time is that of an attempt; a client with a timeout of its own ends requests with an error that does not say so.
	client := newClient(0, nil)
	return &service{key: sink.URL.Key, cluster: cluster, timeout: sink.Timeout.Duration, client: client, clock: now, hanging: make(chan struct{}, maxHanging)}
}

// Send implements Sender.
func (s *service) Send(ctx context.Context, e *news.Event, secrets Secrets) error {
	address, failure := read(ctx, secrets, s.key)
	if failure != nil {
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	watched := &watched{attempt: ctx, base: s.client, clock: s.clock}
	target, failure := s.locate(strings.TrimSpace(address), watched)
	if failure != nil {
		return failure
	}
	select {
	case s.hanging <- struct{}{}:
	default:
		return &Error{What: "several messages before this one still hang in the service"}
	}
	text := e.Title() + "\n" + e.Body()
	if s.cluster != "" {
		text = "[" + s.cluster + "] " + text
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.hanging }()
		done <- try(target, text)
	}()
	select {
	case err := <-done:
		return watched.explain(err)
	case <-ctx.Done():
		return &Error{What: plain(ctx.Err())}
	}
}

// locate makes the service of a URL. The library's words have the URL in them.
func (s *service) locate(address string, watched *watched) (types.Service, *Error) {
	known := "wanted a URL of a service that is known, found something else; see docs/notifications.md for their kinds"
	if name, _, _ := strings.Cut(strings.ToLower(address), ":"); name == "logger" {
		return nil, final("key %s of the Secret: %s", s.key, known)
	}
	r, err := router.NewWithOptions(nil, types.SenderOptions{HTTPClient: watched.client()})
	if err != nil {
		return nil, final("key %s of the Secret: %s", s.key, known)
	}
	target, err := r.Locate(address)
	if err != nil {
		return nil, final("key %s of the Secret: %s", s.key, known)
	}
	return target, nil
}

// errPanicked stands for what the library did not mean to happen.
var errPanicked = errors.New("the service's code failed")

// try sends, and outlives the library.
func try(target types.Service, text string) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	return target.Send(text, &types.Params{}) //nolint:wrapcheck // its words are dropped
}

// watched notes what came of the requests of one attempt, since what the library says of it
// has the URL in it.
type watched struct {
	// attempt ends every request of it.
	attempt context.Context
	base    *http.Client
	clock   clock.PassiveClock

	mu     sync.Mutex
	status int
	after  time.Duration
	err    error
}

// client is one whose requests are noted.
func (w *watched) client() *http.Client {
	c := *w.base
	c.Transport = w
	return &c
}

// RoundTrip implements http.RoundTripper.
func (w *watched) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.base.Transport.RoundTrip(request.WithContext(w.attempt))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.status, w.after = err, 0, 0
	if err == nil {
		w.status, w.after = response.StatusCode, outbound.RetryAfter(response.Header, w.clock.Now(), maxAfter)
	}
	return response, err //nolint:wrapcheck // a transport's errors are for its client
}

// explain says what err is about without its words.
func (w *watched) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		// To some services a redirect is as good as any answer.
		if failure := judge(w.status, w.after); w.status != 0 && failure != nil {
			return failure
		}
		return nil
	}
	if w.err != nil {
		return &Error{What: plain(w.err)}
	}
	if w.status != 0 {
		if failure := judge(w.status, w.after); failure != nil {
			return failure
		}
		if late := w.attempt.Err(); late != nil { // while the answer was read
			return &Error{What: plain(late)}
		}
		return final("the service refused the message though it answered %d; look at its URL in the Secret", w.status)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return &Error{What: plain(err)}
	}
	return &Error{What: "the service could not be used as its URL in the Secret says; check the URL"}
}
