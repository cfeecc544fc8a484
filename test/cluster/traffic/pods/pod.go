package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// Labels and headers by which an answer tells who gave it.
const (
	releaseLabel   = "tidegate.io/release"
	revisionLabel  = "tidegate.io/revision"
	podHeader      = "X-Pod"
	revisionHeader = "X-Revision"
)

// defaultPort is served for a pod whose first container names no port.
const defaultPort = 8080

// buckets of the latency histogram in seconds, fine below one second, where canaries differ.
var buckets = []float64{.005, .01, .02, .03, .05, .075, .1, .15, .2, .25, .3, .4, .5, .6, .75, 1, 1.5, 2, 3, 5, 10}

// podServer is the server of one pod.
type podServer struct {
	uid     types.UID
	podIP   string
	address string
	clock   clock.WithTicker

	http     *http.Server
	listener net.Listener
	served   chan struct{} // Closed when the server accepts no more.

	// life ends with the pod.
	life context.Context
	end  context.CancelFunc

	identity atomic.Pointer[identity]
	requests atomic.Uint64

	codes    *prometheus.CounterVec
	duration prometheus.Histogram
	handled  *prometheus.CounterVec // Calls of gRPC, as codes are requests.
	handling prometheus.Histogram
}

// identity is what a request sees of the pod. It is replaced as a whole.
type identity struct {
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	Release   string `json:"release"`
	Revision  string `json:"revision"`
	Image     string `json:"image"`
	Version   string `json:"version"`

	behaviour Behaviour
}

func identify(pod *corev1.Pod) *identity {
	id := &identity{
		Pod:       pod.Name,
		Namespace: pod.Namespace,
		Release:   pod.Labels[releaseLabel],
		Revision:  pod.Labels[revisionLabel],
	}
	if len(pod.Spec.Containers) > 0 {
		id.Image = pod.Spec.Containers[0].Image
	}
	id.behaviour = ParseImage(id.Image)
	id.Version = id.behaviour.Version
	return id
}

// listen starts the pod's server. Its address answers when listen returns.
func listen(ctx context.Context, pod *corev1.Pod, c clock.WithTicker) (*podServer, error) {
	ip, err := Loopback(pod.Status.PodIP)
	if err != nil {
		return nil, err
	}
	address := netip.AddrPortFrom(ip, portOf(pod)).String()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	p := &podServer{uid: pod.UID, podIP: pod.Status.PodIP, address: address, clock: c, listener: listener, served: make(chan struct{})}
	p.life, p.end = context.WithCancel(ctx)
	p.identity.Store(identify(pod))
	p.http = &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	p.http.Protocols.SetHTTP1(true)
	p.http.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		defer close(p.served)
		// Always an error, after Shutdown ErrServerClosed: the listener is ours and local.
		_ = p.http.Serve(listener)
	}()
	return p, nil
}

func portOf(pod *corev1.Pod) uint16 {
	if len(pod.Spec.Containers) > 0 && len(pod.Spec.Containers[0].Ports) > 0 {
		return uint16(pod.Spec.Containers[0].Ports[0].ContainerPort) // The API server allows 1 to 65535.
	}
	return defaultPort
}

// adopt takes over what a changed object says about labels and image. Readiness, which live runs
// through once, stays as it is.
func (p *podServer) adopt(pod *corev1.Pod) { p.identity.Store(identify(pod)) }

func (p *podServer) handler() http.Handler {
	registry := prometheus.NewRegistry()
	p.codes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total",
		Help: "Requests answered, by status code.",
	}, []string{"code"})
	p.duration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "http_request_duration_seconds",
		Help:    "Time to answer a request.",
		Buckets: buckets,
	})
	registry.MustRegister(p.codes, p.duration)
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError} {
		p.codes.WithLabelValues(strconv.Itoa(code)) // There from the start: a rate needs a first 0.
	}

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", p.echo)
	calls := p.calls(registry)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isCall(r) {
			calls.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// echo answers a request as the behaviour wants and counts it.
func (p *podServer) echo(w http.ResponseWriter, r *http.Request) {
	started := p.clock.Now()
	id := p.identity.Load()
	code := http.StatusOK
	if id.behaviour.Errors.Hits(p.requests.Add(1)) {
		code = http.StatusInternalServerError
	}
	p.delay(r.Context(), id.behaviour)

	// Counted before the answer, so that who has the answer also finds it in the metrics.
	p.codes.WithLabelValues(strconv.Itoa(code)).Inc()
	p.duration.Observe(p.clock.Since(started).Seconds())

	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(podHeader, id.Pod)
	w.Header().Set(revisionHeader, id.Revision)
	w.WriteHeader(code)
	// The client that stops reading is the only way this fails.
	_ = json.NewEncoder(w).Encode(id)
}

// delay is the time that the behaviour adds to an answer. A pod that ends answers late all the same:
// a drained request is a served request.
func (p *podServer) delay(ctx context.Context, b Behaviour) {
	if b.Latency <= 0 {
		return
	}
	select {
	case <-p.clock.After(b.Latency):
	case <-ctx.Done():
	}
}

// live tells the pod's readiness, as its behaviour wants it, until the pod ends. It retries what
// announce cannot tell, and reports it to failed.
func (p *podServer) live(announce func(context.Context, bool) error, failed func(error)) {
	b := p.identity.Load().behaviour
	if b.NeverReady || !p.sleep(b.SlowStart) {
		return
	}
	tell := func(ready bool) bool {
		backoff := wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Steps: 7, Cap: 2 * time.Second}
		for {
			err := announce(p.life, ready)
			if err == nil {
				return true
			}
			if p.life.Err() != nil {
				return false
			}
			failed(err)
			if !p.sleep(backoff.Step()) {
				return false
			}
		}
	}
	if !tell(true) || b.Crash == 0 || !p.sleep(b.Crash) {
		return
	}
	tell(false)
}

// sleep waits for d and reports whether the pod still lives.
func (p *podServer) sleep(d time.Duration) bool {
	if d > 0 {
		select {
		case <-p.clock.After(d):
		case <-p.life.Done():
		}
	}
	return p.life.Err() == nil
}

// release ends the pod's life and frees its address at once; requests in flight go on.
func (p *podServer) release() {
	p.end()
	_ = p.listener.Close() // Closed already is as good.
	<-p.served
}

// drain ends the server after the requests in flight, or after drainTimeout without them.
func (p *podServer) drain(ctx context.Context) {
	p.release()
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := p.http.Shutdown(ctx); err != nil {
		_ = p.http.Close()
	}
}
