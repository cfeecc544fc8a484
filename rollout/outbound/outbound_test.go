package outbound_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidegate.io/tidegate/rollout/outbound"
)

// The vector is that of the Standard Webhooks' own libraries.
func TestSign(t *testing.T) {
	keys, err := outbound.Keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	outbound.Sign(header, keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	for name, want := range map[string]string{
		"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
		"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: wanted %s, found %s", name, want, got)
		}
	}
}

func TestKeys(t *testing.T) {
	long := "0123456789abcdef01234567"
	for name, c := range map[string]struct {
		written string
		want    int
	}{
		"one as it is":      {long + "\n", 1},
		"two on lines":      {long + "\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 2},
		"nothing":           {" \n", 0},
		"one that is short": {long + "\nshort", 0},
		"no base64":         {"whsec_****", 0},
	} {
		if keys, err := outbound.Keys(c.written); len(keys) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "999": time.Minute, "-7": 0, "99999999999999999999": 0, "soon": 0, "1.5": 0,
		now.Add(9 * time.Second).Format(http.TimeFormat): 9 * time.Second,
		now.Add(time.Hour).Format(http.TimeFormat):       time.Minute,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
	} {
		if got := outbound.RetryAfter(http.Header{"Retry-After": {header}}, now, time.Minute); got != want {
			t.Errorf("%q: wanted %s, found %s", header, want, got)
		}
	}
}

func TestPassing(t *testing.T) {
	for status, want := range map[int]bool{
		200: false, 301: false, 400: false, 401: false, 404: false, 408: true, 409: false, 425: true, 429: true, 431: false, 499: false, 500: true, 503: true, 599: true,
	} {
		if got := outbound.Passing(status); got != want {
			t.Errorf("%d: wanted %t", status, want)
		}
	}
}

func TestText(t *testing.T) {
	for raw, want := range map[string]string{
		"":                         "",
		"a\r\n\tb":                 "a b",
		"\x1b[31mred\x1b[0m":       "[31mred [0m",
		"right\u202eleft\u200bone": "right left one",
		"\xff\xfe":                 "",
		"éééééééééééééééééé":       "éééééééééééééé",
	} {
		if got := outbound.Text([]byte(raw), 14); got != want {
			t.Errorf("%q: wanted %q, found %q", raw, want, got)
		}
	}
}

// What a transport says may have the address, and what is in it, in its words.
func TestFaultHasNothingOfTheAddress(t *testing.T) {
	const secret = "token-in-the-path"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a timeout":     {context.DeadlineExceeded, "no answer in time"},
		"DNS":           {&net.DNSError{Name: secret}, "cannot be resolved"},
		"a certificate": {&tls.CertificateVerificationError{Err: errors.New(secret)}, "is not trusted"},
		"a refusal":     {syscall.ECONNREFUSED, "was refused"},
		"anything else": {errors.New(secret), "the connection failed"},
	} {
		got := outbound.Fault(&url.Error{Op: "Post", URL: "https://a/" + secret, Err: c.err})
		if !strings.Contains(got, c.want) || strings.Contains(got, secret) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
