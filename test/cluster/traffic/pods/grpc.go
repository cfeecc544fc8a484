package pods

import (
	"context"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// calls makes the gRPC server of a pod, whose one service is health. Its answers tell who gave
// them in the metadata of the header.
func (p *podServer) calls(registry prometheus.Registerer) *grpc.Server {
	p.handled = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "grpc_server_handled_total",
		Help: "Calls answered, by status code.",
	}, []string{"grpc_code"})
	p.handling = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "grpc_server_handling_seconds",
		Help:    "Time to answer a call.",
		Buckets: buckets,
	})
	registry.MustRegister(p.handled, p.handling)
	for _, code := range []codes.Code{codes.OK, codes.Internal} {
		p.handled.WithLabelValues(code.String())
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(p.call))
	healthv1.RegisterHealthServer(server, health.NewServer())
	return server
}

// call answers a call as the behaviour wants and counts it.
func (p *podServer) call(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	started := p.clock.Now()
	id := p.identity.Load()
	failed := id.behaviour.Errors.Hits(p.requests.Add(1))
	p.delay(ctx, id.behaviour)
	// The client that has gone is the only way this fails.
	_ = grpc.SetHeader(ctx, metadata.Pairs(podHeader, id.Pod, revisionHeader, id.Revision))

	answer, err := handler(ctx, request)
	if failed {
		answer, err = nil, status.Error(codes.Internal, "the image's tag asks for errors")
	}
	p.handled.WithLabelValues(status.Code(err).String()).Inc()
	p.handling.Observe(p.clock.Since(started).Seconds())
	return answer, err //nolint:wrapcheck // A status is what the client reads.
}

// isCall tells gRPC from what else comes over HTTP/2.
func isCall(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}
