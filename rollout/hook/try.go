package hook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"tidegate.io/tidegate/rollout/outbound"
	"tidegate.io/tidegate/rollout/plan"
)

const (
	// maxAnswer is how many bytes of an answer are read.
	maxAnswer = 8 << 10
	// maxHeader is how many bytes its header may have.
	maxHeader = 64 << 10
	// maxText is how many characters of an answer people are shown.
	maxText = 500
)

// outcome is what came of a try.
type outcome struct {
	passed, final bool
	// status is 0 where nothing was answered.
	status  int
	message string
	// after is how long the server asks to be left alone.
	after time.Duration
}

func (o outcome) answer(which plan.Call) plan.Answer {
	return plan.Answer{Call: which, Done: true, Passed: o.passed, Final: o.final, Message: o.message}
}

// final is an outcome that another try would not change.
func final(format string, args ...any) *outcome {
	return &outcome{final: true, message: fmt.Sprintf(format, args...)}
}

// again is an outcome that another try may change.
func again(format string, args ...any) *outcome {
	return &outcome{message: fmt.Sprintf(format, args...)}
}

// try makes one try within the timeout of the hook.
func (c *Caller) try(ctx context.Context, r *request) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	made, problem := c.prepare(ctx, r)
	if problem != nil {
		return *problem
	}
	authorities, problem := c.authorities(ctx, r.authorities)
	if problem != nil {
		return *problem
	}
	return c.exchange(c.client(authorities), made)
}

// prepare makes the HTTP request, signed.
func (c *Caller) prepare(ctx context.Context, r *request) (*http.Request, *outcome) {
	made, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, final("wanted a URL to post to, found something else; correct the hook's url")
	}
	if made.URL.Scheme != "https" && !c.opts.AllowPlain {
		return nil, final("wanted https, found %s, over which anybody on the way may answer; serve the hook with TLS, or start the manager with --allow-plain-hooks", made.URL.Scheme)
	}
	keys, problem := c.keys(ctx, r.secret)
	if problem != nil {
		return nil, problem
	}
	made.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	made.Header.Set("User-Agent", "tidegate-hook")
	if len(keys) > 0 {
		outbound.Sign(made.Header, keys, r.id, c.opts.Clock.Now(), r.body)
	} else {
		made.Header.Set("webhook-id", r.id)
	}
	return made, nil
}

// client returns a client for one call. Connections are not kept, so that a call is made with
// the certificates and to the addresses of today; the environment's proxy is not asked, since
// the address that is looked at would be the proxy's; and redirects, which lead elsewhere
// than to what the platform wrote, are not followed.
func (c *Caller) client(authorities *x509.CertPool) *http.Client {
	dialer := &net.Dialer{ControlContext: c.control}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// control is asked before every connection, when the name has become an address.
func (c *Caller) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusedError{"its host is at no IP address; correct the address"}
	}
	return c.opts.Addresses.Refuses(to)
}

// exchange sends a request and judges the answer.
func (c *Caller) exchange(client *http.Client, made *http.Request) outcome {
	response, err := client.Do(made)
	if err != nil {
		if refusal, ok := errors.AsType[*refusedError](err); ok {
			return *final("%s", refusal.what)
		}
		return *again("%s", outbound.Fault(err))
	}
	defer func() { _ = response.Body.Close() }()
	// What was answered counts, also where its text does not come whole.
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	out := judge(response.StatusCode, outbound.Text(body, maxText))
	if !out.passed && !out.final {
		out.after = outbound.RetryAfter(response.Header, c.opts.Clock.Now(), maxRetryAfter)
	}
	return out
}

// judge says what a status means.
func judge(status int, text string) outcome {
	out := outcome{status: status, message: strings.TrimSuffix(fmt.Sprintf("answered %d: %s", status, text), ": ")}
	switch {
	case status >= 200 && status < 300:
		out.passed = true
	case status >= 300 && status < 400:
		out.final = true
		out.message = fmt.Sprintf("answered %d, a redirect, which is not followed; give the address that it leads to", status)
	default:
		out.final = !outbound.Passing(status)
	}
	return out
}
