package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// errCut is what a manager is answered once it was killed.
var errCut = errors.New("the connection is cut")

// sort is what a request is counted as.
type sort int

const (
	write sort = iota
	read
	event
	lease
	watching
	// query and call are no requests to the API server, but to a source of figures and a hook.
	query
	call
)

func sortOf(r *http.Request) sort {
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		return watching
	case r.Method == http.MethodGet:
		return read
	case strings.Contains(r.URL.Path, "/events"):
		return event
	case strings.Contains(r.URL.Path, "/leases"):
		return lease
	}
	return write
}

// exchange is one request that is disturbed.
type exchange struct {
	wire    *wire
	request *http.Request
	next    http.RoundTripper
	// fire says that the fault has come to pass, at the latest when it is over.
	fire func()
}

// send sends the request on and returns what is answered.
func (x *exchange) send() (*http.Response, error) { return x.next.RoundTrip(x.request) }

// lose sends the request on and loses what is answered.
func (x *exchange) lose() {
	response, err := x.send()
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

// refuse answers as the API server does, without asking it.
func (x *exchange) refuse(code int, reason metav1.StatusReason, header ...string) (*http.Response, error) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Message: "a fault that the test made", Reason: reason, Code: int32(code),
	}
	body, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	if x.request.Body != nil {
		_ = x.request.Body.Close()
	}
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: code, Status: fmt.Sprint(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: x.request,
	}, nil
}

// fault is what is done to one request.
type fault struct {
	name string
	// kills is true where the manager dies of it.
	kills bool
	do    func(*exchange) (*http.Response, error)
}

var (
	killedBefore = fault{"killed before it is sent", true, func(x *exchange) (*http.Response, error) {
		x.wire.cut.Store(true)
		return nil, errCut
	}}
	killedAfter = fault{"killed after it was carried out", true, func(x *exchange) (*http.Response, error) {
		x.wire.cut.Store(true)
		x.lose()
		return nil, errCut
	}}
	conflicts = fault{"409", false, func(x *exchange) (*http.Response, error) {
		return x.refuse(http.StatusConflict, metav1.StatusReasonConflict)
	}}
	fails = fault{"500", false, func(x *exchange) (*http.Response, error) {
		return x.refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError)
	}}
	unavailable = fault{"503", false, func(x *exchange) (*http.Response, error) {
		return x.refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	}}
	tooMany = fault{"429 and Retry-After", false, func(x *exchange) (*http.Response, error) {
		return x.refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "Retry-After", "1")
	}}
	timesOut = fault{"timeout, not carried out", false, func(*exchange) (*http.Response, error) {
		return nil, fmt.Errorf("awaiting headers: %w", os.ErrDeadlineExceeded)
	}}
	timesOutDone = fault{"timeout, carried out", false, func(x *exchange) (*http.Response, error) {
		x.lose()
		return nil, fmt.Errorf("awaiting headers: %w", os.ErrDeadlineExceeded)
	}}
	resets = fault{"connection reset, carried out", false, func(x *exchange) (*http.Response, error) {
		x.lose()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}}
)

// wire is the connection of one manager to the API server. It counts requests once it is
// armed, and disturbs one of them.
type wire struct {
	next http.RoundTripper
	// cut answers everything with errCut.
	cut atomic.Bool

	mu    sync.Mutex
	armed bool
	lines map[sort][]string
	// fault is done to request number at, from 1, of those of the sort.
	fault fault
	sort  sort
	at    int
	// part, where it is set, is in the line of the request instead: the first such is disturbed.
	part  string
	fired chan struct{}
	what  string
	// gate, while it is not nil, holds up every request and what watches deliver until it is
	// closed.
	gate chan struct{}
	// silent does so for what watches deliver alone.
	silent chan struct{}
	// open opens the gate that a fault has shut.
	open    func()
	watches map[*stream]bool
}

func newWire(next http.RoundTripper) *wire {
	return &wire{next: next, fired: make(chan struct{}), lines: map[sort][]string{}, watches: map[*stream]bool{}}
}

// arm begins to count.
func (l *wire) arm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = true
}

// disturb does f to request number at of a sort.
func (l *wire) disturb(f fault, of sort, at int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.sort, l.at = f, of, at
}

// disturbFirst does f to the first write whose line has a part.
func (l *wire) disturbFirst(f fault, part string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.sort, l.part = f, write, part
}

// hits notes a request, and says whether it is to be disturbed.
func (l *wire) hits(kind sort, line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed {
		return false
	}
	l.lines[kind] = append(l.lines[kind], line)
	hit := l.at > 0 && len(l.lines[kind]) == l.at || l.part != "" && l.what == "" && strings.Contains(line, l.part)
	if kind != l.sort || !hit {
		return false
	}
	l.what = line
	return true
}

// RoundTrip implements http.RoundTripper.
func (l *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := l.passGate(r); err != nil {
		return nil, err
	}
	if l.cut.Load() {
		return nil, errCut
	}
	kind := sortOf(r)
	if kind == watching {
		return l.openWatch(r)
	}
	if !l.hits(kind, r.Method+" "+r.URL.Path) {
		return l.next.RoundTrip(r)
	}
	fire := sync.OnceFunc(func() { close(l.fired) })
	defer fire()
	return l.fault.do(&exchange{wire: l, request: r, next: l.next, fire: fire})
}

// passGate waits while the gate is shut.
func (l *wire) passGate(r *http.Request) error {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// shut holds up everything until the returned function is called.
func (l *wire) shut() (open func()) { return l.hold(&l.gate) }

// mute holds up what watches deliver until the returned function is called.
func (l *wire) mute() (open func()) { return l.hold(&l.silent) }

func (l *wire) hold(which *chan struct{}) (open func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := make(chan struct{})
	*which = gate
	return sync.OnceFunc(func() {
		l.mu.Lock()
		*which = nil
		l.mu.Unlock()
		close(gate)
	})
}

// release lets go what a fault holds up.
func (l *wire) release() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	open()
}

// list returns what was counted of a sort.
func (l *wire) list(of sort) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines[of]...)
}

// hit returns the request that was disturbed; empty where none was.
func (l *wire) hit() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.what
}

// written counts all writes: of objects, events and leases.
func (l *wire) written() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines[write]) + len(l.lines[event]) + len(l.lines[lease])
}

// stream is the body of a watch, which can be made to end.
type stream struct {
	io.ReadCloser
	wire *wire
	done <-chan struct{}
}

func (l *wire) openWatch(r *http.Request) (*http.Response, error) {
	response, err := l.next.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	s := &stream{response.Body, l, r.Context().Done()}
	response.Body = s
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watches[s] = true
	return response, nil
}

// Read delivers what was sent, unless it is held up.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.wire.mu.Lock()
	gates := []chan struct{}{s.wire.gate, s.wire.silent}
	s.wire.mu.Unlock()
	for _, gate := range gates {
		if gate == nil {
			continue
		}
		select {
		case <-gate:
		case <-s.done:
		}
	}
	return n, err
}

// Close ends the watch.
func (s *stream) Close() error {
	s.wire.mu.Lock()
	delete(s.wire.watches, s)
	s.wire.mu.Unlock()
	return s.ReadCloser.Close()
}

// dropWatches ends every watch, as a connection does that is lost.
func (l *wire) dropWatches() {
	l.mu.Lock()
	var all []*stream
	for s := range l.watches {
		all = append(all, s)
	}
	l.mu.Unlock()
	for _, s := range all {
		_ = s.Close()
	}
}
