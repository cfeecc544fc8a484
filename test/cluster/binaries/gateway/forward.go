package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// errorHeader marks every answer that the gateway itself gave, so that a client can tell a lost
// request from an answer of the application, whatever its status code.
const errorHeader = "X-Gateway-Error"

// Limits of one forwarded request.
const (
	dialTimeout   = 2 * time.Second
	headerTimeout = 30 * time.Second
)

// errNoEndpoint says that a backend has no ready endpoint, so that nothing was tried.
var errNoEndpoint = errors.New("no ready endpoint")

// fail answers in the gateway's own name.
func (s *stats) fail(w http.ResponseWriter, status int, reason string) {
	s.failed.Add(1)
	w.Header().Set(errorHeader, reason)
	http.Error(w, reason, status)
}

// Schemes of endpoints: HTTP/1.1, and HTTP/2 without TLS, which is what gRPC is spoken in.
const (
	schemeHTTP = "http"
	schemeH2C  = "h2c"
)

// transport dials the loopback address that serves a pod, in the protocol of the endpoint's scheme.
// It is shared by all backends, so that a change of configuration keeps the connections that are
// open.
type transport struct{ http1, h2c *http.Transport }

func newTransport() *transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	http1 := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, loopback(address))
		},
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: headerTimeout,
	}
	h2c := http1.Clone()
	h2c.Protocols = new(http.Protocols)
	h2c.Protocols.SetUnencryptedHTTP2(true)
	return &transport{http1: http1, h2c: h2c}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != schemeH2C {
		return t.http1.RoundTrip(r) //nolint:wrapcheck // A RoundTripper between two others.
	}
	plain := *r.URL
	plain.Scheme = schemeHTTP // HTTP/2 is what the transport is for.
	out := r.WithContext(r.Context())
	out.URL = &plain
	return t.h2c.RoundTrip(out) //nolint:wrapcheck // As above.
}

// loopback maps a pod address 10.b.c.d:port to 127.b.c.d:port, where the pod's server listens:
// an EndpointSlice refuses loopback addresses. Any other address stays as it is.
func loopback(address string) string {
	if rest, ok := strings.CutPrefix(address, "10."); ok {
		return "127." + rest
	}
	return address
}

// backend is one Service behind one route rule. It outlives configurations: its endpoints are
// replaced in place, so a request that is under way in an old configuration also tries none that
// has left.
type backend struct {
	name      string
	stats     *stats
	base      http.RoundTripper
	endpoints atomic.Pointer[[]*url.URL]
	turn      atomic.Uint64
	proxy     *httputil.ReverseProxy
}

func newBackend(name string, base http.RoundTripper, s *stats) *backend {
	b := &backend{name: name, stats: s, base: base}
	b.endpoints.Store(&[]*url.URL{})
	b.proxy = &httputil.ReverseProxy{
		Transport: b,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			// RoundTrip names the endpoint; a proxy request must have some host before.
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "backend"
		},
		ModifyResponse: func(res *http.Response) error {
			res.Header.Del(errorHeader) // Ours alone to set.
			return nil
		},
		ErrorHandler: b.failed,
	}
	return b
}

// setEndpoints replaces the endpoints that new requests may go to.
func (b *backend) setEndpoints(endpoints []*url.URL) { b.endpoints.Store(&endpoints) }

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.proxy.ServeHTTP(w, r) }

// RoundTrip sends the request to the next endpoint in turn. If the connection cannot be made,
// so that no byte was sent, an idempotent request without a body is tried once on each other
// endpoint of the same backend, as proxies commonly do.
func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	turn := b.turn.Add(1) - 1
	tried := map[string]bool{}
	var last error
	for {
		// Read anew for each try: the list may have changed since.
		target := pick(*b.endpoints.Load(), turn, tried)
		switch {
		case target == nil && last == nil:
			return nil, errNoEndpoint
		case target == nil:
			return nil, last
		}
		if len(tried) > 0 {
			b.stats.retried.Add(1)
		}
		tried[target.Host] = true

		res, err := b.base.RoundTrip(aimed(r, target))
		if err == nil {
			return res, nil
		}
		last = fmt.Errorf("forwarding to %s: %w", target.Host, err)
		if !neverSent(err) || !idempotent(r) {
			return nil, last
		}
	}
}

// pick returns the first endpoint from turn on that was not tried, or nil.
func pick(endpoints []*url.URL, turn uint64, tried map[string]bool) *url.URL {
	n := uint64(len(endpoints))
	for i := range n {
		if e := endpoints[(turn+i)%n]; !tried[e.Host] {
			return e
		}
	}
	return nil
}

// aimed returns the request with another endpoint in its URL. The original stays untouched.
func aimed(r *http.Request, target *url.URL) *http.Request {
	out := r.WithContext(r.Context())
	u := *r.URL
	u.Scheme, u.Host = target.Scheme, target.Host
	out.URL = &u
	return out
}

// neverSent reports whether the connection was never made.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func idempotent(r *http.Request) bool {
	safe := []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete}
	return slices.Contains(safe, r.Method) && (r.Body == nil || r.Body == http.NoBody)
}

// failed answers for a backend that gave no answer.
func (b *backend) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		b.stats.abandoned.Add(1)
		w.WriteHeader(http.StatusBadGateway) // The client is gone; nobody reads it.
		return
	}
	var timeout net.Error
	switch {
	case errors.Is(err, errNoEndpoint):
		b.stats.fail(w, http.StatusServiceUnavailable, "no ready endpoint for "+b.name)
	case errors.As(err, &timeout) && timeout.Timeout():
		b.stats.fail(w, http.StatusGatewayTimeout, err.Error())
	default:
		b.stats.fail(w, http.StatusBadGateway, err.Error())
	}
}
