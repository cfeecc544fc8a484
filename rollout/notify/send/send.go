package send

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"k8s.io/utils/clock"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
)

// Sender delivers events to one sink. It is used by one goroutine at a time.
type Sender interface {
	// Send makes one attempt. An error is an *Error.
	Send(ctx context.Context, e *news.Event, secrets Secrets) error
}

// Secrets returns the value of a key of the sink's Secret. Its errors say what is missing,
// and never a value.
type Secrets func(ctx context.Context, key string) (string, error)

// Error is why an attempt failed. It has no secret in it.
type Error struct {
	// What is wrong, and what to do.
	What string
	// Final is true where trying again would not help.
	Final bool
	// After is the least time to wait for before the next attempt, as the server asked.
	After time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.What }

// final is an error that a person must mend.
func final(format string, args ...any) *Error {
	return &Error{What: fmt.Sprintf(format, args...), Final: true}
}

// New returns the sender of a sink that was checked. cluster is how messages call the
// cluster, or empty.
func New(sink *rules.Sink, cluster string, now clock.PassiveClock) (Sender, error) {
	switch {
	case sink.Slack != nil:
		return &slack{config: *sink.Slack, cluster: cluster, client: newClient(sink.Timeout.Duration, nil), clock: now}, nil
	case sink.Webhook != nil:
		return newWebhook(sink, cluster, now)
	case sink.URL != nil:
		return newService(sink, cluster, now), nil
	}
	return nil, errors.New("wanted a sink with one of slack, webhook and url, found none; add one")
}

// bearer reads a token. One that no header can carry is said here: the HTTP client would not say which it is.
func bearer(ctx context.Context, secrets Secrets, key string) (string, *Error) {
	token, failure := read(ctx, secrets, key)
	if failure == nil && strings.ContainsFunc(token, unicode.IsControl) {
		return "", final("wanted one line of characters that print in the key %s of the Secret, found others; write the token anew", key)
	}
	return token, failure
}

// read gets a key, and takes one that is missing for something that may come.
func read(ctx context.Context, secrets Secrets, key string) (string, *Error) {
	value, err := secrets(ctx, key)
	if err != nil {
		return "", &Error{What: err.Error()}
	}
	return value, nil
}
