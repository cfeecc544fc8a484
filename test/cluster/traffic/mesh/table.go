package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// table is all routes and endpoints at one moment. A request is served by the table that was
// current when it arrived.
type table struct {
	routes    []route
	endpoints map[backend][]string
}

// route is one object with rules, for the requests to its hosts. The first rule that a request fits
// serves it.
type route struct {
	name  string // Kind namespace/name.
	hosts []string
	rules []rule
	// broken says why the proxies of a mesh would refuse the object; it serves nobody then.
	broken error
}

// rule is what becomes of the requests that fit one of the matches, or of all where there are none.
type rule struct {
	matches []match
	shares  []share
	copies  []copyTo
	// answer is a status to answer with at once, and redirect where to; 0 is none.
	answer   int
	redirect string
	timeout  time.Duration
	// retries are further tries where a connection cannot be made.
	retries int
}

type match func(*http.Request) bool

// backend is a port of a Service.
type backend struct {
	namespace, service string
	port               int32
}

func (b backend) String() string { return fmt.Sprintf("%s/%s:%d", b.namespace, b.service, b.port) }

type share struct {
	to     backend
	weight int
}

type copyTo struct {
	to      backend
	percent float64
}

func (r rule) fits(req *http.Request) bool {
	return len(r.matches) == 0 || slices.ContainsFunc(r.matches, func(m match) bool { return m(req) })
}

// find returns the rule for a request, and a key that stays the same while the rule does.
func (t *table) find(req *http.Request) (*rule, string, error) {
	host := req.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for i := range t.routes {
		r := &t.routes[i]
		if !slices.ContainsFunc(r.hosts, func(h string) bool { return covers(h, host) }) {
			continue
		}
		if r.broken != nil {
			return nil, "", fmt.Errorf("%s: %w", r.name, r.broken)
		}
		for n := range r.rules {
			if r.rules[n].fits(req) {
				return &r.rules[n], fmt.Sprintf("%s %d %v %v", r.name, n, r.rules[n].shares, r.rules[n].copies), nil
			}
		}
		return nil, "", fmt.Errorf("%s: no rule fits the request", r.name)
	}
	return nil, "", fmt.Errorf("no route for host %q", host)
}

// covers says whether a host of a route, which may begin with *, is that of a request.
func covers(pattern, host string) bool {
	if rest, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(host, rest) && len(host) > len(rest)
	}
	return strings.EqualFold(pattern, host)
}

// schedules share requests out exactly by weight, also while tables change around an unchanged
// rule.
type schedules struct {
	mu      sync.Mutex
	current map[string][]int
	seen    map[string]uint64
}

// next returns whose turn it is among shares: the one that is furthest behind its weight.
func (s *schedules) next(key string, shares []share) (backend, error) {
	total := 0
	for _, each := range shares {
		total += each.weight
	}
	if total == 0 {
		return backend{}, errors.New("no destination has a weight above 0")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		s.current = map[string][]int{}
	}
	behind := s.current[key]
	if behind == nil {
		behind = make([]int, len(shares))
		s.current[key] = behind
	}
	most := 0
	for i := range shares {
		behind[i] += shares[i].weight
		if behind[i] > behind[most] {
			most = i
		}
	}
	behind[most] -= total
	return shares[most].to, nil
}

// due says whether this request is one of the percentage that is copied.
func (s *schedules) due(key string, percent float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]uint64{}
	}
	n := s.seen[key] + 1
	s.seen[key] = n
	return uint64(float64(n)*percent/100) > uint64(float64(n-1)*percent/100)
}

// through carries the table, the destination and the tries of one request to the transport.
type through struct {
	table *table
	to    backend
	tries int
}

type throughKey struct{}

var errNoEndpoint = errors.New("no ready endpoint")

// RoundTrip sends a request to an endpoint of its destination, and to the next one where the
// connection cannot be made.
func (m *Mesh) RoundTrip(r *http.Request) (*http.Response, error) {
	way, ok := r.Context().Value(throughKey{}).(through)
	if !ok {
		return nil, errors.New("forwarding a request: it was not routed")
	}
	endpoints := way.table.endpoints[way.to]
	last := fmt.Errorf("%w for %s", errNoEndpoint, way.to)
	turn := int(m.turn.Add(1) % (1 << 30))
	for try := range min(way.tries, len(endpoints)) {
		out := r.WithContext(r.Context())
		to := *r.URL
		to.Scheme, to.Host = "http", endpoints[(turn+try)%len(endpoints)]
		out.URL = &to
		res, err := m.transport.RoundTrip(out)
		if err == nil {
			return res, nil
		}
		last = fmt.Errorf("forwarding to %s: %w", to.Host, err)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || r.Body != nil && r.Body != http.NoBody {
			break
		}
	}
	return nil, last
}

// routed is the request on its way to a destination.
func routed(ctx context.Context, r *http.Request, way through) *http.Request {
	return r.WithContext(context.WithValue(ctx, throughKey{}, way))
}
