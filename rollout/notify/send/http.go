package send

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"tidegate.io/tidegate/rollout/outbound"
)

const (
	// maxAnswer is how much of an answer is read.
	maxAnswer = 64 << 10
	// maxAfter bounds what a server may ask to wait for.
	maxAfter = time.Minute
)

// newClient returns a client that follows no redirects, which would carry secrets
// elsewhere, and trusts authorities alone, or the system's where that is nil.
func newClient(timeout time.Duration, authorities *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}
	transport.MaxIdleConnsPerHost = 1
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what a server said.
type answer struct {
	after time.Duration
	body  []byte
}

// exchange sends a request and reads the answer. It fails where there is none, or a status
// that is not good.
func exchange(client *http.Client, request *http.Request, now time.Time) (answer, *Error) {
	response, err := client.Do(request)
	if err != nil {
		return answer{}, &Error{What: plain(err)}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, &Error{What: plain(err)}
	}
	got := answer{after: outbound.RetryAfter(response.Header, now, maxAfter), body: body}
	return got, judge(response.StatusCode, got.after)
}

// judge makes an error of a status, nil of one that is good.
func judge(status int, after time.Duration) *Error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return final("the server answered %d, a redirect, which is not followed; give the address that it leads to", status)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return final("the server answered %d: the token, the signing key or the URL in the Secret is not the right one; correct it", status)
	case outbound.Passing(status):
		return &Error{What: fmt.Sprintf("the server answered %d", status), After: after}
	}
	return final("the server answered %d and will not take it; look at its address and its log", status)
}

// plain says what class of error a transport's is. Its own words may have the URL in them.
func plain(err error) string {
	if errors.Is(err, context.Canceled) {
		return "the manager is stopping"
	}
	return outbound.Fault(err)
}
