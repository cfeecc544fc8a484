package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"google.golang.org/grpc/codes"
)

// served runs the gateway's server before a plane and returns its URL.
func served(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, h, 10*time.Second) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// call sends what a gRPC client sends, without its library.
func call(t *testing.T, url string) *http.Response {
	t.Helper()
	speaker := &http.Transport{Protocols: new(http.Protocols)}
	speaker.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(speaker.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/shop.Cart/Get", strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "cart.test"
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := speaker.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestCallsGoOverHTTP2AndKeepTheirTrailers(t *testing.T) {
	pod := newPod(t, 71, "a", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 2 || len(body) != 5 || r.Header.Get("Te") != "trailers" {
			t.Errorf("the pod got %q of HTTP/%d with TE %q, %v", body, r.ProtoMajor, r.Header.Get("Te"), err)
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte("answer"))
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
	})
	conf := route().backend("a", 1, pod)
	conf.Services["a"].LoadBalancer.Servers[0].URL = strings.Replace(pod.url, "http://", "h2c://", 1)
	p := testPlane(t)
	p.mustApply(t, conf)

	res := call(t, served(t, p))
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != "answer" || res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Grpc-Message") != "fine" {
		t.Errorf("the caller got %q and the trailers %v", body, res.Trailer)
	}
	if res.Header.Get("X-Pod") != "a" || pod.count.Load() != 1 {
		t.Errorf("the answer is from %q, which got %d calls", res.Header.Get("X-Pod"), pod.count.Load())
	}
}

func TestABackendOfCallsThatIsThereLaterServesThen(t *testing.T) {
	pod := newPod(t, 72, "a", nil)
	p := testPlane(t)
	none := route()
	none.entry(dynamic.WRRService{Name: "a", Weight: new(1), GRPCStatus: &dynamic.GRPCStatus{Code: codes.Unavailable}})
	p.mustApply(t, none)
	url := served(t, p)
	if res := call(t, url); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get(errorHeader) == "" {
		t.Errorf("a call to nowhere got %d, %v", res.StatusCode, res.Header)
	}
	conf := route().backend("a", 1, pod)
	conf.Services["a"].LoadBalancer.Servers[0].URL = strings.Replace(pod.url, "http://", "h2c://", 1)
	p.mustApply(t, conf)
	if res := call(t, url); res.StatusCode != http.StatusOK || res.Header.Get("X-Pod") != "a" {
		t.Errorf("a call to the pod got %d, %v", res.StatusCode, res.Header)
	}
}
