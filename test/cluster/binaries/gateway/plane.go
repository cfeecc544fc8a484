package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/middlewares/gatewayapi/headermodifier"
	"github.com/traefik/traefik/v3/pkg/middlewares/gatewayapi/redirect"
	"github.com/traefik/traefik/v3/pkg/middlewares/gatewayapi/urlrewrite"
	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	muxer "github.com/traefik/traefik/v3/pkg/muxer/http"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/gateway"
	"github.com/traefik/traefik/v3/pkg/safe"
	"github.com/traefik/traefik/v3/pkg/server/service/loadbalancer/wrr"
)

// plane turns the provider's configurations into a handler and swaps it atomically: a request is
// served by the configuration that was current when it arrived, start to end.
//
// Backends and balancers outlive a configuration that does not change them. Otherwise each change
// of an endpoint would start the weighted schedule anew, which favours the heavy side, and 5 %
// would become less than 5 %.
type plane struct {
	parser    muxer.SyntaxParser
	decorator *requestdecorator.RequestDecorator
	base      http.RoundTripper
	stats     *stats
	copies    *safe.Pool // Where requests are copied to mirrors.
	current   atomic.Pointer[muxer.Muxer]

	// Touched by apply alone, which one goroutine calls.
	backends  map[string]*backend
	balancers map[string]balancer
}

// balancer is a weighted schedule with the configuration it was made for.
type balancer struct {
	signature string
	handler   http.Handler
}

func newPlane(base http.RoundTripper, s *stats, copies *safe.Pool) (*plane, error) {
	parser, err := muxer.NewSyntaxParser()
	if err != nil {
		return nil, fmt.Errorf("making the parser of routing rules: %w", err)
	}
	return &plane{
		parser:    parser,
		decorator: requestdecorator.New(nil),
		base:      base,
		stats:     s,
		copies:    copies,
	}, nil
}

func (p *plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.stats.requests.Add(1)
	mux := p.current.Load()
	if mux == nil {
		p.stats.fail(w, http.StatusServiceUnavailable, "no configuration yet: is the Gateway API installed in the cluster?")
		return
	}
	p.decorator.ServeHTTP(w, r, mux.ServeHTTP)
}

// apply makes conf the current configuration. A part that cannot be built answers 500 for its own
// routes and is named in the returned error; the rest works.
func (p *plane) apply(ctx context.Context, conf *dynamic.HTTPConfiguration) error {
	b := &builder{
		plane:     p,
		conf:      conf,
		backends:  map[string]*backend{},
		balancers: map[string]balancer{},
	}
	mux, routes, err := b.build(ctx)

	p.backends, p.balancers = b.backends, b.balancers
	p.current.Store(mux)
	p.stats.configured(routes)
	return err
}

// builder builds one configuration.
type builder struct {
	*plane
	conf      *dynamic.HTTPConfiguration
	backends  map[string]*backend
	balancers map[string]balancer
}

func (b *builder) build(ctx context.Context) (*muxer.Muxer, []routeStats, error) {
	mux := muxer.NewMuxer(b.parser, nil)
	mux.SetDefaultHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.stats.fail(w, http.StatusNotFound, fmt.Sprintf("no route for host %q and path %q", r.Host, r.URL.Path))
	}))

	var routes []routeStats
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.conf.Routers)) {
		router := b.conf.Routers[name]
		handler, err := b.router(ctx, router)
		if err != nil {
			errs = append(errs, fmt.Errorf("building route %s: %w", name, err))
			handler = b.status(http.StatusInternalServerError, "invalid route: "+err.Error())
		}
		if err := mux.AddRoute(router.Rule, router.RuleSyntax, router.Priority, gateway.ProviderName, handler); err != nil {
			errs = append(errs, fmt.Errorf("adding route %s: %w", name, err))
			continue
		}
		routes = append(routes, b.describe(router))
	}
	return mux, routes, errors.Join(errs...)
}

func (b *builder) router(ctx context.Context, router *dynamic.Router) (http.Handler, error) {
	handler, err := b.service(ctx, router.Service)
	if err != nil {
		return nil, err
	}
	return b.chain(ctx, router.Middlewares, handler)
}

// service builds the handler of a named service: a weighted set, or one backend.
func (b *builder) service(ctx context.Context, name string) (http.Handler, error) {
	service, ok := b.conf.Services[name]
	if !ok {
		return nil, fmt.Errorf("finding service %q: not in the configuration", name)
	}
	switch {
	case service.Weighted != nil:
		return b.weighted(ctx, name, service.Weighted)
	case service.LoadBalancer != nil:
		handler, err := b.backend(name, service.LoadBalancer)
		if err != nil {
			return nil, err
		}
		return b.chain(ctx, service.Middlewares, handler)
	default:
		return nil, fmt.Errorf("building service %q: only weighted services and load balancers are supported", name)
	}
}

// weighted returns the schedule over the named services, the running one if nothing about it changed.
func (b *builder) weighted(ctx context.Context, name string, conf *dynamic.WeightedRoundRobin) (http.Handler, error) {
	handlers := make([]http.Handler, len(conf.Services))
	total := 0
	for i, s := range conf.Services {
		handler, err := b.child(ctx, s)
		if err != nil {
			return nil, err
		}
		handlers[i] = handler
		if _, mirrors := copied(s); !mirrors {
			total += weight(s)
		}
	}
	if total == 0 {
		return b.status(http.StatusServiceUnavailable, "no backend has a weight above 0"), nil
	}

	signature, err := b.signature(conf)
	if err != nil {
		return nil, err
	}
	if old, ok := b.plane.balancers[name]; ok && old.signature == signature {
		b.balancers[name] = old
		return old.handler, nil
	}
	schedule := wrr.New(nil, false)
	for i, s := range conf.Services {
		if _, mirrors := copied(s); !mirrors {
			schedule.Add(s.Name, handlers[i], s.Weight, false)
		}
	}
	handler, err := b.mirrored(ctx, schedule, conf.Services)
	if err != nil {
		return nil, err
	}
	b.balancers[name] = balancer{signature: signature, handler: handler}
	return handler, nil
}

// child is one entry of a weighted set: a backend, or a fixed status for a reference that does
// not resolve, as the Gateway API asks.
func (b *builder) child(ctx context.Context, s dynamic.WRRService) (http.Handler, error) {
	if s.Status != nil {
		return b.status(*s.Status, "backend reference does not resolve: "+s.Name), nil
	}
	if s.GRPCStatus != nil {
		// A gRPC client takes it for the status Unavailable, which is what the provider asks for.
		return b.status(http.StatusServiceUnavailable, "backend reference does not resolve: "+s.Name), nil
	}
	return b.service(ctx, s.Name)
}

// signature is equal for two weighted sets that behave the same, endpoints aside.
func (b *builder) signature(conf *dynamic.WeightedRoundRobin) (string, error) {
	type entry struct {
		Name        string
		Weight      int
		Status      *int
		GRPCStatus  bool
		Middlewares []*dynamic.Middleware
	}
	entries := make([]entry, 0, len(conf.Services))
	for _, s := range conf.Services {
		e := entry{Name: s.Name, Weight: weight(s), Status: s.Status, GRPCStatus: s.GRPCStatus != nil}
		if service := b.conf.Services[s.Name]; service != nil {
			for _, m := range service.Middlewares {
				e.Middlewares = append(e.Middlewares, b.conf.Middlewares[m])
			}
		}
		entries = append(entries, e)
	}
	out, err := json.Marshal(entries)
	if err != nil {
		return "", fmt.Errorf("encoding a weighted service: %w", err)
	}
	return string(out), nil
}

// backend returns the named backend with its endpoints brought up to date.
func (b *builder) backend(name string, conf *dynamic.ServersLoadBalancer) (*backend, error) {
	endpoints := make([]*url.URL, 0, len(conf.Servers))
	for _, s := range conf.Servers {
		u, err := url.Parse(s.URL)
		if err != nil {
			return nil, fmt.Errorf("reading an endpoint of %q: %w", name, err)
		}
		if u.Scheme != schemeHTTP && u.Scheme != schemeH2C {
			return nil, fmt.Errorf("reading endpoint %s of %q: the test gateway forwards plain HTTP only", s.URL, name)
		}
		endpoints = append(endpoints, u)
	}

	be, ok := b.backends[name]
	if !ok {
		if be, ok = b.plane.backends[name]; !ok {
			be = newBackend(name, b.base, b.stats)
		}
		b.backends[name] = be
	}
	be.setEndpoints(endpoints)
	return be, nil
}

// chain wraps next in the named filters, the first outermost.
func (b *builder) chain(ctx context.Context, names []string, next http.Handler) (http.Handler, error) {
	for _, name := range slices.Backward(names) {
		conf, ok := b.conf.Middlewares[name]
		if !ok {
			return nil, fmt.Errorf("finding filter %q: not in the configuration", name)
		}
		switch {
		case conf.RequestHeaderModifier != nil:
			next = headermodifier.NewRequestHeaderModifier(ctx, next, *conf.RequestHeaderModifier, name)
		case conf.ResponseHeaderModifier != nil:
			next = headermodifier.NewResponseHeaderModifier(ctx, next, *conf.ResponseHeaderModifier, name)
		case conf.URLRewrite != nil:
			next = urlrewrite.NewURLRewrite(ctx, next, *conf.URLRewrite, name)
		case conf.RequestRedirect != nil:
			handler, err := redirect.NewRequestRedirect(ctx, next, *conf.RequestRedirect, name)
			if err != nil {
				return nil, fmt.Errorf("building filter %q: %w", name, err)
			}
			next = handler
		default:
			return nil, fmt.Errorf("building filter %q: its kind is not supported by the test gateway", name)
		}
	}
	return next, nil
}

func (b *builder) status(code int, reason string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.stats.fail(w, code, reason)
	})
}

func (b *builder) describe(router *dynamic.Router) routeStats {
	out := routeStats{Rule: router.Rule}
	service := b.conf.Services[router.Service]
	if service == nil || service.Weighted == nil {
		return out
	}
	for _, s := range service.Weighted.Services {
		entry := backendStats{Name: s.Name, Weight: weight(s)}
		if percent, mirrors := copied(s); mirrors {
			entry.Weight, entry.Mirror = 0, percent
		}
		if be := b.backends[s.Name]; be != nil {
			for _, e := range *be.endpoints.Load() {
				entry.Endpoints = append(entry.Endpoints, e.Host)
			}
		}
		out.Backends = append(out.Backends, entry)
	}
	return out
}

// weight is the entry's weight; none given means 1.
func weight(s dynamic.WRRService) int {
	if s.Weight == nil {
		return 1
	}
	return *s.Weight
}
