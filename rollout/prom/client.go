// Package prom asks a Prometheus. Client turns one PromQL expression into one sample, or
// into the cause why there is none; Measurer measures every metric of a Rollout, both
// revisions at the same evaluation time. Nothing here decides: the judges of package
// analysis read what this package brings back.
package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"tidegate.io/tidegate/rollout/analysis"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// DefaultTimeout bounds one query where the MetricSource gives no timeout.
	DefaultTimeout = 5 * time.Second
	// maxResponse bounds the bytes read of one answer. One sample takes some 200 bytes; a
	// query that gives thousands of series is refused long before it costs memory.
	maxResponse = 1 << 20
	// maxDetail bounds the source's own words that end up in a status.
	maxDetail = 300
	// userAgent is how queries are told apart in the query log of the source.
	userAgent = "tidegate"
)

// Config says how to reach one Prometheus.
type Config struct {
	// Address is the base URL, http or https, with an optional path.
	Address string
	// Timeout of one query; DefaultTimeout if not positive.
	Timeout time.Duration
	// CABundle is PEM of the authorities of the server's certificate; empty means the
	// system's.
	CABundle []byte
	// Token is a bearer token; it excludes Username.
	Token string
	// Username and Password are for HTTP basic authentication.
	Username string
	Password string
}

// Client asks one Prometheus. It is safe for concurrent use.
type Client struct {
	api     promv1.API
	http    *http.Client
	timeout time.Duration
}

// NewClient checks cfg and returns a client; it makes no request. Its errors are a
// person's to mend: an address that is no URL, a CA bundle without a certificate, two
// kinds of credentials.
func NewClient(cfg Config) (*Client, error) {
	address, err := url.Parse(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	if (address.Scheme != "http" && address.Scheme != "https") || address.Host == "" {
		return nil, fmt.Errorf("reading the address: wanted http://HOST or https://HOST, found %q", address.Redacted())
	}
	if address.User != nil {
		return nil, errors.New("reading the address: it carries a user name or password; put them into the Secret that secretName names")
	}
	if cfg.Token != "" && cfg.Username != "" {
		return nil, errors.New("reading the credentials: wanted either a token or a username and password, found both")
	}
	settings := config.HTTPClientConfig{
		TLSConfig:       config.TLSConfig{CA: string(cfg.CABundle), MinVersion: config.TLSVersions["TLS12"]},
		EnableHTTP2:     true,
		FollowRedirects: false, // credentials go to the address that was configured and no further
	}
	switch {
	case cfg.Token != "":
		settings.Authorization = &config.Authorization{Type: "Bearer", Credentials: config.Secret(cfg.Token)}
	case cfg.Username != "":
		settings.BasicAuth = &config.BasicAuth{Username: cfg.Username, Password: config.Secret(cfg.Password)}
	}
	httpClient, err := config.NewClientFromConfig(settings, "metricsource", config.WithUserAgent(userAgent))
	if err != nil {
		return nil, fmt.Errorf("setting up the connection: %w", err)
	}
	httpClient.Transport = boundedTransport{next: httpClient.Transport, limit: maxResponse}
	apiClient, err := api.NewClient(api.Config{Address: cfg.Address, Client: httpClient})
	if err != nil {
		return nil, fmt.Errorf("setting up the client: %w", err)
	}
	timeout := cfg.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{api: promv1.NewAPI(apiClient), http: httpClient, timeout: timeout}, nil
}

// Close ends idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
}

// Query evaluates expr at the time at. What stands in the way of one finite number is
// told by the sample's cause, never by an error, so that it is judged like any other
// evidence.
func (c *Client) Query(ctx context.Context, expr string, at time.Time) analysis.Sample {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, warnings, _, err := c.api.Query(ctx, expr, at, promv1.WithTimeout(c.timeout))
	if err != nil {
		return c.failed(err)
	}
	if len(warnings) > 0 {
		// A query front end warns of a partial answer when a store is down, and a Prometheus
		// of a query that cannot mean what was meant: a number about another world.
		return unknown(v1alpha1.CauseQueryError, "the source answered with a warning, so the number is no evidence: "+strings.Join(warnings, "; "))
	}
	return sampleOf(value)
}

// Probe evaluates the expression vector(1) and returns why the source cannot be used, or
// nil.
func (c *Client) Probe(ctx context.Context, at time.Time) error {
	sample := c.Query(ctx, "vector(1)", at)
	switch {
	case sample.Cause != "":
		return &ProbeError{Cause: sample.Cause, Detail: sample.Detail}
	case sample.Value != 1:
		return &ProbeError{Cause: v1alpha1.CauseQueryError, Detail: fmt.Sprintf("vector(1) gave %v; this is no Prometheus", sample.Value)}
	}
	return nil
}

// ProbeError says why a source cannot be used.
type ProbeError struct {
	Cause  v1alpha1.UnknownCause
	Detail string
}

// Error implements error.
func (e *ProbeError) Error() string {
	return fmt.Sprintf("asking the source for vector(1): %s: %s", e.Cause, e.Detail)
}

// sampleOf maps the value of a successful query.
func sampleOf(value model.Value) analysis.Sample {
	switch v := value.(type) {
	case model.Vector:
		switch len(v) {
		case 0:
			return unknown(v1alpha1.CauseNoData, "the query gave no series")
		case 1:
			if v[0].Histogram != nil {
				return unknown(v1alpha1.CauseQueryError, "the query gave a histogram; wrap it in histogram_quantile or histogram_count")
			}
			return number(float64(v[0].Value))
		default:
			return unknown(v1alpha1.CauseManySeries, fmt.Sprintf("the query gave %d series, such as %s and %s; aggregate them to one, as sum() does",
				len(v), v[0].Metric, v[1].Metric))
		}
	case *model.Scalar:
		return number(float64(v.Value))
	case nil:
		return unknown(v1alpha1.CauseSourceDown, "the source answered without a result")
	default:
		return unknown(v1alpha1.CauseQueryError, fmt.Sprintf("the query gave a %s; wanted an instant vector of one series", value.Type()))
	}
}

func number(f float64) analysis.Sample {
	switch {
	case math.IsNaN(f):
		return unknown(v1alpha1.CauseNotANumber, "the query gave NaN, as 0/0 does")
	case math.IsInf(f, 0):
		return unknown(v1alpha1.CauseInfinite, "the query gave an infinite number, as 1/0 does")
	}
	return analysis.Sample{Value: f}
}

// failed maps the error of a query. Only what the source says of the expression itself
// is a QueryError; whatever else went wrong is about the source.
func (c *Client) failed(err error) analysis.Sample {
	var (
		apiErr     *promv1.Error
		tooLarge   *http.MaxBytesError
		netTimeout net.Error
	)
	switch {
	case errors.As(err, &tooLarge):
		return unknown(v1alpha1.CauseManySeries, fmt.Sprintf("the answer has more than %d bytes; aggregate the series to one, as sum() does", tooLarge.Limit))
	case errors.As(err, &apiErr):
		cause := v1alpha1.CauseSourceDown
		if apiErr.Type == promv1.ErrBadData || apiErr.Type == promv1.ErrExec {
			cause = v1alpha1.CauseQueryError
		}
		return unknown(cause, fmt.Sprintf("%s: %s", apiErr.Type, apiErr.Msg))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netTimeout) && netTimeout.Timeout():
		return unknown(v1alpha1.CauseSourceDown, fmt.Sprintf("no answer within %s", c.timeout))
	}
	return unknown(v1alpha1.CauseSourceDown, rootCause(err))
}

// rootCause drops the URL that net/http puts in front: it is long, the same each time,
// and stands in the MetricSource.
func rootCause(err error) string {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		return urlErr.Err.Error()
	}
	return err.Error()
}

func unknown(cause v1alpha1.UnknownCause, detail string) analysis.Sample {
	return analysis.Sample{Cause: cause, Detail: clip(detail)}
}

// clip makes foreign text fit for a status: one line, valid UTF-8, bounded.
func clip(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "?")
	if len(s) <= maxDetail {
		return s
	}
	cut := maxDetail
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// boundedTransport bounds the bytes that are read of an answer.
type boundedTransport struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{http.MaxBytesReader(nil, resp.Body, t.limit), resp.Body}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client looks for.
func (t boundedTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
