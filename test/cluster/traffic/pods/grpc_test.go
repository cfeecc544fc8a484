package pods

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestPodsAnswerCallsOfGRPCToo(t *testing.T) {
	k := serve(t, nil, podAt("cart-1", podIP(61), "shop/cart:1.0.0-errors50"))
	k.wantPatch(t, "cart-1=true")
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(urlOf(61), "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := healthv1.NewHealthClient(conn)

	var from metadata.MD
	good, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{}, grpc.Header(&from))
	if err != nil || good.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("the first call got %v, %v", good, err)
	}
	if from.Get(podHeader)[0] != "cart-1" || from.Get(revisionHeader)[0] != "r1" {
		t.Errorf("the answer says %v", from)
	}
	if _, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("every second call fails by the image, and got %v", err)
	}
	// The other protocol is served on the same port.
	metrics := get(t, urlOf(61)+"/metrics").body
	for _, want := range []string{`grpc_server_handled_total{grpc_code="OK"} 1`, `grpc_server_handled_total{grpc_code="Internal"} 1`, "grpc_server_handling_seconds_count 2"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("wanted %s in the metrics, found\n%s", want, metrics)
		}
	}
}
