package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
)

// Paths that the gateway answers itself, on its own address and for any host.
const (
	healthPath = "/__gateway/healthz"
	statsPath  = "/__gateway/stats"
)

// stats counts what the gateway did, for tests and people that ask.
type stats struct {
	requests  atomic.Int64 // Requests that came in for a route.
	failed    atomic.Int64 // Answers in the gateway's own name.
	retried   atomic.Int64 // Second and later tries on another endpoint.
	abandoned atomic.Int64 // Requests whose client left first.

	mu             sync.Mutex
	configurations int
	routes         []routeStats
}

// routeStats is one rule as the data plane serves it at this moment.
type routeStats struct {
	Rule     string         `json:"rule"`
	Backends []backendStats `json:"backends"`
}

type backendStats struct {
	Name      string   `json:"name"`
	Weight    int      `json:"weight"`
	Mirror    int      `json:"mirror"` // Percentage that is copied.
	Endpoints []string `json:"endpoints"`
}

// configured notes that a configuration has taken effect.
func (s *stats) configured(routes []routeStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configurations++
	s.routes = routes
}

func (s *stats) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	configurations, routes := s.configurations, s.routes
	s.mu.Unlock()

	w.Header().Set("Content-Type", "application/json")
	// The client that stops reading is the only way this fails.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"requests":       s.requests.Load(),
		"failed":         s.failed.Load(),
		"retried":        s.retried.Load(),
		"abandoned":      s.abandoned.Load(),
		"configurations": configurations,
		"routes":         routes,
	})
}
