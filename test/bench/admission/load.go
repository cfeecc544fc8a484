package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// server is a process that answers reviews.
type server struct {
	hello
	part part
	cmd  *exec.Cmd
	in   io.Closer
	tls  *tls.Config
}

// start runs this program again as a server. Nothing of the environment of the bench counts
// in it but what it needs to be found.
func start(ctx context.Context, p part) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	config, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration of a server: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, serveCommand, string(config))
	// The memory that the chart gives a manager, so that the collector does what it does there.
	cmd.Env = []string{"GOMEMLIMIT=" + memoryLimit, "GOGC=" + collect, serveEnv + "=1"}
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	s := &server{part: p, cmd: cmd, in: in}
	if err := json.NewDecoder(out).Decode(&s.hello); err != nil {
		s.stop()
		return nil, fmt.Errorf("starting a server: wanted its address, found: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(s.Authority)) {
		s.stop()
		return nil, errors.New("starting a server: wanted its certificate, found none")
	}
	// The API server speaks HTTP/1.1 to webhooks.
	s.tls = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	return s, nil
}

func (s *server) stop() {
	_ = s.in.Close()
	_ = s.cmd.Wait() // it says on standard error what went wrong
}

// used asks the server what it took. With collect it gives back first what it does not need.
func (s *server) used(ctx context.Context, collect bool) (u used, err error) {
	url := s.Control + "/used"
	if collect {
		url += "?collect=1"
	}
	return u, ask(ctx, http.MethodGet, url, &u)
}

// reload has the server bring policies into force from now on.
func (s *server) reload(ctx context.Context, every time.Duration) error {
	return ask(ctx, http.MethodPost, s.Control+"/reload?every="+every.String(), nil)
}

func ask(ctx context.Context, method, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking a server: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking a server: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("asking a server: %s", res.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("asking a server: %w", err)
	}
	return nil
}

// connection is one connection that is kept open, as the API server keeps them.
type connection struct {
	conn    *tls.Conn
	reader  *bufio.Reader
	message []byte
	body    bytes.Buffer
}

// dial opens a connection on which one review is posted again and again.
func (s *server) dial(ctx context.Context, path string, review []byte) (*connection, error) {
	host := strings.TrimPrefix(s.URL, "https://")
	conn, err := (&tls.Dialer{Config: s.tls}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("connecting: found %T", conn)
	}
	head := fmt.Sprintf("POST %s?timeout=5s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-apiserver-admission\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, host, len(review))
	return &connection{conn: c, reader: bufio.NewReader(c), message: append([]byte(head), review...)}, nil
}

// allowed is in every answer that consents.
var allowed = []byte(`"allowed":true`)

// post posts the review once, and says whether the answer was consent.
func (c *connection) post() (consent bool, err error) {
	if _, err := c.conn.Write(c.message); err != nil {
		return false, fmt.Errorf("posting a review: %w", err)
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return false, fmt.Errorf("reading an answer: %w", err)
	}
	c.body.Reset()
	_, err = c.body.ReadFrom(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return false, fmt.Errorf("reading an answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("wanted an answer, found %s: %.200s", res.Status, c.body.Bytes())
	}
	return bytes.Contains(c.body.Bytes(), allowed), nil
}

// answered is what the requests of one turn came to.
type answered struct {
	took []time.Duration
	// other is how many answers were not the one that was wanted, with an example.
	other   int
	example string
	// broken is how many connections had a request without an answer, and failed the first of these.
	broken int
	failed error
}

// turn posts on all connections at once, for so long and at least once on each.
func turn(ctx context.Context, clients []*connection, length time.Duration, want bool) answered {
	all := make([]answered, len(clients))
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			a := &all[i]
			for first := true; first || (time.Now().Before(end) && ctx.Err() == nil); first = false {
				began := time.Now()
				consent, err := c.post()
				if err != nil {
					a.failed, a.broken = err, 1
					return
				}
				a.took = append(a.took, time.Since(began))
				if consent != want {
					a.other++
					a.example = c.body.String()
				}
			}
		})
	}
	wg.Wait()
	var sum answered
	for _, a := range all {
		sum.took = append(sum.took, a.took...)
		sum.other += a.other
		sum.broken += a.broken
		if sum.example == "" {
			sum.example = a.example
		}
		if sum.failed == nil {
			sum.failed = a.failed
		}
	}
	return sum
}
