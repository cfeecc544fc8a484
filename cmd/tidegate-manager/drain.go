package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// requestLimit is the longest that the API server may wait for a webhook. A request is
// never worked on for longer.
const requestLimit = 10 * time.Second

// drainingServer is a webhook server that finishes the requests under way when it is told
// to stop. The server beneath hands each request its own context, which ends at that very
// moment, so that requests which are waited for would fail; here they are handed one that
// ends when nobody can wait for the answer any more.
type drainingServer struct{ webhook.Server }

// Register implements webhook.Server.
func (s drainingServer) Register(path string, hook http.Handler) {
	s.Server.Register(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestLimit)
		defer cancel()
		hook.ServeHTTP(w, r.WithContext(ctx))
	}))
}

// drain tells a replica that is about to stop from one that is not.
type drain struct{ begun atomic.Bool }

// context returns a context for everything that runs. It ends delay after asked does; in
// between readiness fails and everything else goes on, so that the API server can learn
// that this replica is leaving before it stops to answer.
func (d *drain) context(asked context.Context, delay time.Duration, log logr.Logger) context.Context {
	ctx, cancel := context.WithCancel(context.WithoutCancel(asked))
	context.AfterFunc(asked, func() {
		d.begun.Store(true)
		log.Info("Asked to stop; still serving", "delay", delay.String())
		time.AfterFunc(delay, cancel)
	})
	return ctx
}

// ready is a healthz.Checker.
func (d *drain) ready(*http.Request) error {
	if d.begun.Load() {
		return errors.New("this replica is stopping")
	}
	return nil
}
