package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
)

// Roles of a server.
const (
	roleNothing     = "nothing"
	roleGate        = "gate"
	roleConstraints = "constraints"
	// roleBaseline judges by the same policies as roleGate or roleConstraints, in the way of
	// others.
	roleBaseline = "baseline"
)

// part is what a server is started with.
type part struct {
	Role string `json:"role"`
	// Policies is how many DeployPolicies there are.
	Policies int `json:"policies,omitempty"`
	// Library is a folder of ConstraintTemplates, and Group one of its folders or all.
	Library string `json:"library,omitempty"`
	Group   string `json:"group,omitempty"`
}

// hello is what a server says when it is ready, in one line.
type hello struct {
	URL       string `json:"url"`
	Control   string `json:"control"`
	Authority string `json:"authority"`
	// Judges is by how many policies it judges.
	Judges int `json:"judges"`
}

// used is what a server took since it was started.
type used struct {
	Processor time.Duration `json:"processor"`
	// Allocations are objects.
	Allocations uint64 `json:"allocations"`
	// Resident is the memory of the process now, Live that of what the last collection of
	// garbage left, both in bytes.
	Resident uint64 `json:"resident"`
	Live     uint64 `json:"live"`
	Reloads  int64  `json:"reloads"`
	// Failed is the first reload that failed; empty for none.
	Failed string `json:"failed,omitempty"`
}

// served is a handler, by its path, and how to bring another version of one of its policies
// into force.
type served struct {
	handlers map[string]http.Handler
	judges   int
	reload   func(version int) error
}

// Register implements webhook.Server.
func (s *served) Register(path string, h http.Handler) { s.handlers[path] = h }

// pathBaseline is where the baseline answers.
const pathBaseline = "/baseline"

// serve is the whole life of a server: until its parent closes the pipe.
func serve(ctx context.Context, config string, in io.Reader, out io.Writer) error {
	ctrl.SetLogger(logr.Discard())
	var p part
	if err := json.Unmarshal([]byte(config), &p); err != nil {
		return fmt.Errorf("reading the configuration of a server: %w", err)
	}
	s, err := p.serve()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	certificate, authority, err := selfSigned()
	if err != nil {
		return err
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	server := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: "127.0.0.1", Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
	}}})
	for path, h := range s.handlers {
		server.Register(path, h)
	}
	control, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Start(ctx) }()
	c := &controls{served: s}
	go func() {
		failed <- (&http.Server{Handler: c, ReadHeaderTimeout: time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}).Serve(control)
	}()
	go func() {
		_, err := io.Copy(io.Discard, in)
		failed <- err // the parent wants no more, or is no more
	}()
	if err := started(server.StartedChecker()); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(hello{
		URL: "https://127.0.0.1:" + strconv.Itoa(port), Control: "http://" + control.Addr().String(), Authority: authority, Judges: s.judges,
	}); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return <-failed
}

// started waits until a server listens.
func started(check func(*http.Request) error) error {
	var err error
	for range 1000 {
		if err = check(nil); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("waiting for the server to listen: %w", err)
}

// serve makes what answers.
func (p part) serve() (*served, error) {
	s := &served{handlers: map[string]http.Handler{}, reload: func(int) error { return errors.New("there is nothing to reload") }}
	switch p.Role {
	case roleNothing:
		handlers, err := gateHandlers(eval.NewStore())
		if err != nil {
			return nil, err
		}
		// The same server code, down to the reading of the review, and nothing behind it.
		handlers.Gate = admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })
		handlers.Register(s)
		return s, nil
	case roleGate:
		return s, s.gate(p.Policies)
	case roleConstraints:
		return s, s.constraints(p)
	case roleBaseline:
		b, err := newBaseline(p)
		if err != nil {
			return nil, err
		}
		s.judges = len(b.rules)
		s.Register(pathBaseline, &admission.Webhook{Handler: b, RecoverPanic: new(true)})
		return s, nil
	}
	return nil, fmt.Errorf("wanted the role of a server, found %q", p.Role)
}

func (s *served) gate(policies int) error {
	sources, err := deployPolicies(policies)
	if err != nil {
		return err
	}
	store, err := gateStore(sources)
	if err != nil {
		return err
	}
	handlers, err := gateHandlers(store)
	if err != nil {
		return err
	}
	handlers.Register(s)
	s.judges = len(sources)
	s.reload = func(version int) error { return store.Put(reloadable(sources, version)) }
	return nil
}

// controls is the server's side of what the bench asks besides reviews.
type controls struct {
	served  *served
	reloads atomic.Int64
	failed  atomic.Pointer[string]
}

// ServeHTTP implements http.Handler: GET /used, and POST /reload?every=100ms, which goes on
// until the server ends.
func (c *controls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /used":
		u, err := usedUp(r.URL.Query().Get("collect") != "")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		u.Reloads = c.reloads.Load()
		if f := c.failed.Load(); f != nil {
			u.Failed = *f
		}
		_ = json.NewEncoder(w).Encode(u)
	case "POST /reload":
		every, err := time.ParseDuration(r.URL.Query().Get("every"))
		if err != nil || every <= 0 {
			http.Error(w, "wanted every=DURATION", http.StatusBadRequest)
			return
		}
		go c.reload(every)
	default:
		http.NotFound(w, r)
	}
}

// reload brings policies into force, one after the other, for as long as the process lives.
func (c *controls) reload(every time.Duration) {
	for version := 1; ; version++ {
		if err := c.served.reload(version); err != nil {
			text := err.Error()
			c.failed.CompareAndSwap(nil, &text)
			return
		}
		c.reloads.Add(1)
		time.Sleep(every)
	}
}

// usedUp asks the system and the runtime. It stops nothing.
func usedUp(collect bool) (used, error) {
	if collect {
		debug.FreeOSMemory()
	}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return used{}, fmt.Errorf("asking for processor time: %w", err)
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	u := used{
		Processor:   time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Allocations: samples[0].Value.Uint64(), Live: samples[1].Value.Uint64(),
	}
	var err error
	u.Resident, err = resident()
	return u, err
}

// resident is the memory of this process.
func resident() (uint64, error) {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("asking for memory: %w", err)
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0, fmt.Errorf("asking for memory: found %q", raw)
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("asking for memory: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}

// freePort is one that nobody listened at a moment ago.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	address, ok := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil || !ok {
		return 0, fmt.Errorf("finding a free port: %s: %w", l.Addr(), err)
	}
	return address.Port, nil
}

// selfSigned is a certificate for this machine, and itself in PEM.
func selfSigned() (*tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("making a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, "", fmt.Errorf("making a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
