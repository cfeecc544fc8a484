package send

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// held is an event with what an attacker, or an unlucky text, could put in.
func held() *news.Event {
	return &news.Event{
		ID: "00112233445566778899aabbccddeeff", Kind: news.Held, Severity: news.Warning, At: noon,
		Namespace: "shop", Release: "cart", Labels: map[string]string{"team": "payments"},
		Rollout: "cart-7", UID: "u-7", Number: 7, Revision: "0123456789", Digest: "sha256:ab", Template: "web-3-aa",
		Phase: "Progressing", Step: 1, Steps: 3, Weight: 20,
		Code: "TG-HOLD-NODATA", Why: "errors < 1 % & <!channel> no data\nfrom \"main\"", Remedy: "tidegate status cart -n shop",
	}
}

// recorded is one request that a server got.
type recorded struct {
	path   string
	header http.Header
	body   []byte
}

// server answers every request the same way and keeps them.
type server struct {
	*httptest.Server

	mu   sync.Mutex
	seen []recorded
}

// serve starts a server, by TLS where secure is true.
func serve(t *testing.T, secure bool, status int, header http.Header, body string) *server {
	t.Helper()
	s := &server{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.seen = append(s.seen, recorded{r.URL.Path, r.Header.Clone(), got})
		s.mu.Unlock()
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	s.Server = httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// only returns the one request there was.
func (s *server) only(t *testing.T) recorded {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) != 1 {
		t.Fatalf("wanted 1 request, got %d", len(s.seen))
	}
	return s.seen[0]
}

// authority is the PEM of what a TLS server is trusted by.
func (s *server) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// having are Secrets by key.
func having(values map[string]string) Secrets {
	return func(_ context.Context, key string) (string, error) {
		if v, ok := values[key]; ok {
			return v, nil
		}
		return "", errors.New("there is no key " + key)
	}
}

// sender makes the sender of a sink that nobody checked.
func sender(t *testing.T, sink rules.Sink) Sender {
	t.Helper()
	if sink.Timeout.Duration == 0 {
		sink.Timeout.Duration = 5 * time.Second
	}
	s, err := New(&sink, "eu-1", clocktesting.NewFakePassiveClock(noon))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// failure is the *Error of an attempt, which must have nothing of the secrets in it.
func failure(t *testing.T, err error, secrets ...string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("wanted an *Error, got %v", err)
	}
	for _, s := range secrets {
		if strings.Contains(err.Error(), s) {
			t.Errorf("%q is in the error %q", s, err)
		}
	}
	return e
}
